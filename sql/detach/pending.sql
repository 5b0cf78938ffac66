SELECT EXISTS (
    SELECT FROM pg_inherits WHERE inhrelid = $1::oid AND inhdetachpending) AS pending
