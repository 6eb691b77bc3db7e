from libs.common.migrate import run_sql

revision, down_revision = "0006", "0005"
upgrade = run_sql(__file__)
