SET max_parallel_workers_per_gather = 0; SET max_parallel_maintenance_workers = 0
