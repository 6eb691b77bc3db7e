from libs.common.migrate import run_sql

revision, down_revision = "0005", "0004"
upgrade = run_sql(__file__)
