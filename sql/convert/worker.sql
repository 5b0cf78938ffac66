-- Sums by context and month have few groups. The planner cannot know how few, and would sort all
-- rows on the disk instead of adding them up as they come. And --jobs says how many processes read.
SET enable_sort = off; SET jit = off; SET max_parallel_workers_per_gather = 0
