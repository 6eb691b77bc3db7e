from libs.common.migrate import run_sql

revision, down_revision = "0002", "0001"
upgrade = run_sql(__file__)
