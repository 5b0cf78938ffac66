-- Values that travel as text read the same in every session, all rows are read or none, and no
-- limit that a role has for its applications ends an archive half way.
SELECT count(set_config(setting.name, setting.value, true)) AS settings
FROM (VALUES
    ('statement_timeout', '0'),
    ('idle_in_transaction_session_timeout', '0'),
    ('transaction_timeout', '0'),
    ('row_security', 'off'),
    -- The bytes of a database without an encoding are whatever applications have sent.
    ('client_encoding',
        CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END),
    ('search_path', ''),
    ('quote_all_identifiers', 'off'),
    ('TimeZone', 'UTC'),
    ('DateStyle', 'ISO, YMD'),
    ('IntervalStyle', 'postgres'),
    ('bytea_output', 'hex'),
    ('extra_float_digits', '1'),
    ('lc_monetary', 'C'),
    ('xmloption', 'content'),
    ('array_nulls', 'on')
) AS setting (name, value)
-- Some servers do not know all of them yet.
WHERE lower(setting.name) IN (SELECT lower(known.name) FROM pg_catalog.pg_settings AS known)
