DROP TABLE pg_temp.batch
