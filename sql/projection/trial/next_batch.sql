TRUNCATE pg_temp.batch
