-- Whoever began the migration records it, whatever role its statements took on.
SET SESSION AUTHORIZATION DEFAULT
