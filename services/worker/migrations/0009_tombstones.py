from libs.common.migrate import protocol_sql, run_sql

revision, down_revision = "0009", "0008"
upgrade = run_sql(protocol_sql("privacy_0002"))
