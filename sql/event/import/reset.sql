-- Triggers of the events table get the settings that other writers have.
RESET work_mem;
RESET lock_timeout;
RESET search_path
