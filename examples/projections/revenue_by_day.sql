-- name: revenue_by_day
-- contexts: Billing
-- aggregates: Invoice
-- slots: 2
-- tables: revenue_by_day

-- What was earned each day, in one currency. The currency is a parameter: pupctl.toml has it under
-- [projections.parameters], or the command line with --param currency=EUR. It is quoted where it
-- stands, so no quotes are written around it.

-- init

CREATE TABLE IF NOT EXISTS revenue_by_day (
    day date PRIMARY KEY,
    currency text NOT NULL DEFAULT {{ currency }},
    invoices bigint NOT NULL,
    paid numeric(14, 2) NOT NULL,
    refunded numeric(14, 2) NOT NULL,
    net numeric(14, 2) GENERATED ALWAYS AS (paid - refunded) STORED
);

-- handle

-- A day begins at another moment in each time zone, so the zone is named. Rows are written in the
-- order of the days, always: two workers that write the same days in different orders would wait for
-- each other.

INSERT INTO revenue_by_day AS t (day, invoices, paid, refunded)
SELECT (created_at AT TIME ZONE 'UTC')::date,
    count(*) FILTER (WHERE event_type = 'InvoicePaid'),
    coalesce(sum((pupctl_json(payload) ->> 'amount')::numeric)
        FILTER (WHERE event_type = 'InvoicePaid'), 0),
    coalesce(sum((pupctl_json(payload) ->> 'amount')::numeric)
        FILTER (WHERE event_type = 'InvoiceRefunded'), 0)
FROM batch
WHERE event_type IN ('InvoicePaid', 'InvoiceRefunded')
    AND pupctl_json(payload) ->> 'currency' = {{ currency }}
GROUP BY 1
ORDER BY 1
ON CONFLICT (day) DO UPDATE SET
    invoices = t.invoices + excluded.invoices,
    paid = t.paid + excluded.paid,
    refunded = t.refunded + excluded.refunded;
