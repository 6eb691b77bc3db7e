from libs.common.migrate import protocol_sql, run_sql

revision, down_revision = "0007", "0006"
upgrade = run_sql(protocol_sql("privacy_0002"))
