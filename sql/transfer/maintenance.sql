SET LOCAL lock_timeout = 5000
