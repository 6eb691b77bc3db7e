from libs.common.migrate import protocol_sql, run_sql

revision, down_revision = "0006", "0005"
upgrade = run_sql(protocol_sql("privacy_0001"), __file__)
