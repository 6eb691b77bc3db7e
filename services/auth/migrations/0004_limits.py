from libs.common.migrate import run_sql

revision, down_revision = "0004", "0003"
upgrade = run_sql(__file__)
