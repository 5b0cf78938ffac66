DELETE FROM pg_temp.batch
