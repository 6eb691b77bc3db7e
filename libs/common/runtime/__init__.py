"""The consumer runtime: takes messages from RabbitMQ and Postgres, runs handlers on them, ends each exactly once."""
