from libs.common.migrate import run_sql

revision, down_revision = "0007", "0006"
upgrade = run_sql(__file__)
