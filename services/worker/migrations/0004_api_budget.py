from libs.common.migrate import budget_sql, run_sql

revision, down_revision = "0004", "0003"
upgrade = run_sql(budget_sql("budget_0001"))
