from libs.common.migrate import run_sql

revision, down_revision = "0008", "0007"
upgrade = run_sql(__file__)
