from libs.common.migrate import protocol_sql, run_sql

revision, down_revision = "0001", None
upgrade = run_sql(protocol_sql("producer_0001"), protocol_sql("consumer_0001"), protocol_sql("consumer_0002"))
