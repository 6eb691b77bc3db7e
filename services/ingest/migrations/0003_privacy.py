from libs.common.migrate import protocol_sql, run_sql

revision, down_revision = "0003", "0002"
upgrade = run_sql(protocol_sql("privacy_0001"))
