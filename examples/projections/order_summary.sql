-- name: order_summary
-- contexts: Sales
-- aggregates: Order
-- slots: 4
-- tables: order_summary, order_lines

-- Two tables: the lines of every order, and one row for each order with its total. It shows how the
-- latest event of several wins, how rows are taken out again, and how one table is made from another
-- for what has changed.

-- init

CREATE TABLE IF NOT EXISTS order_lines (
    order_id text NOT NULL,
    sku text NOT NULL,
    quantity bigint NOT NULL,
    price_cents bigint NOT NULL,
    PRIMARY KEY (order_id, sku)
);

CREATE TABLE IF NOT EXISTS order_summary (
    order_id text PRIMARY KEY,
    customer_id text,
    status text NOT NULL,
    lines bigint NOT NULL DEFAULT 0,
    total_cents bigint NOT NULL DEFAULT 0,
    placed_at timestamptz,
    updated_at timestamptz NOT NULL
);

-- handle

-- The lines. A batch may hold several events of one line: the last one counts. DISTINCT ON keeps the
-- first row of each group, so the highest position comes first.

DELETE FROM order_lines AS t
USING (
    SELECT DISTINCT ON (aggregate_id, pupctl_json(payload) ->> 'sku')
        aggregate_id, pupctl_json(payload) ->> 'sku' AS sku, event_type
    FROM batch
    WHERE event_type IN ('LineAdded', 'LineRemoved')
    ORDER BY aggregate_id, pupctl_json(payload) ->> 'sku', global_position DESC
) AS latest
WHERE t.order_id = latest.aggregate_id AND t.sku = latest.sku
    AND latest.event_type = 'LineRemoved';

INSERT INTO order_lines AS t (order_id, sku, quantity, price_cents)
SELECT aggregate_id, payload ->> 'sku', (payload ->> 'quantity')::bigint,
    (payload ->> 'price_cents')::bigint
FROM (
    SELECT DISTINCT ON (aggregate_id, pupctl_json(payload) ->> 'sku')
        aggregate_id, event_type, pupctl_json(payload) AS payload
    FROM batch
    WHERE event_type IN ('LineAdded', 'LineRemoved')
    ORDER BY aggregate_id, pupctl_json(payload) ->> 'sku', global_position DESC
) AS latest
WHERE event_type = 'LineAdded'
ON CONFLICT (order_id, sku) DO UPDATE SET
    quantity = excluded.quantity,
    price_cents = excluded.price_cents;

-- The orders. Several types of events in one statement: FILTER takes from each what it has. What the
-- batch does not say stays as it is.

INSERT INTO order_summary AS t (order_id, customer_id, status, placed_at, updated_at)
SELECT aggregate_id,
    max(pupctl_json(payload) ->> 'customer_id') FILTER (WHERE event_type = 'OrderPlaced'),
    coalesce((array_agg(event_type ORDER BY global_position DESC)
        FILTER (WHERE event_type IN ('OrderPaid', 'OrderShipped', 'OrderCancelled')))[1],
        'OrderPlaced'),
    min(created_at) FILTER (WHERE event_type = 'OrderPlaced'),
    max(created_at)
FROM batch
GROUP BY aggregate_id
ON CONFLICT (order_id) DO UPDATE SET
    customer_id = coalesce(excluded.customer_id, t.customer_id),
    status = CASE excluded.status WHEN 'OrderPlaced' THEN t.status ELSE excluded.status END,
    placed_at = coalesce(excluded.placed_at, t.placed_at),
    updated_at = greatest(t.updated_at, excluded.updated_at);

-- Their totals, from the lines as they are now; of the orders in this batch only.

UPDATE order_summary AS t
SET lines = now.lines, total_cents = now.total_cents
FROM (
    SELECT changed.order_id, count(line.sku) AS lines,
        coalesce(sum(line.quantity * line.price_cents), 0) AS total_cents
    FROM (SELECT DISTINCT aggregate_id AS order_id FROM batch) AS changed
    LEFT JOIN order_lines AS line ON line.order_id = changed.order_id
    GROUP BY changed.order_id
) AS now
WHERE t.order_id = now.order_id;

-- What is to be forgotten goes last: an order may be placed and deleted in one batch.

DELETE FROM order_lines
WHERE order_id IN (SELECT aggregate_id FROM batch WHERE event_type = 'OrderDeleted');

DELETE FROM order_summary
WHERE order_id IN (SELECT aggregate_id FROM batch WHERE event_type = 'OrderDeleted');
