-- The server looks which columns the statements use, and runs nothing.
CREATE FUNCTION pg_temp.pupctl_probe() RETURNS void LANGUAGE sql BEGIN ATOMIC
