-- name: wallet_balances
-- contexts: Wallet
-- aggregates: Wallet
-- slots: 4
-- tables: wallet_balances, wallet_statements

-- The balance of every wallet, and its statement: each movement with the balance after it. Balances
-- are sums of signed amounts, so it does not matter how the movements are cut into batches.

-- init

CREATE TABLE IF NOT EXISTS wallet_balances (
    wallet_id text PRIMARY KEY,
    owner text,
    balance_cents bigint NOT NULL,
    movements bigint NOT NULL
);

CREATE TABLE IF NOT EXISTS wallet_statements (
    wallet_id text NOT NULL,
    version bigint NOT NULL,
    amount_cents bigint NOT NULL,
    balance_cents bigint NOT NULL,
    PRIMARY KEY (wallet_id, version)
);

-- handle

-- The statement: what the wallet had before this batch, and a running sum over the movements in it.

INSERT INTO wallet_statements (wallet_id, version, amount_cents, balance_cents)
SELECT movement.wallet_id, movement.version, movement.amount_cents,
    coalesce(before.balance_cents, 0)
        + sum(movement.amount_cents) OVER (PARTITION BY movement.wallet_id ORDER BY movement.version)
FROM (
    SELECT aggregate_id AS wallet_id, aggregate_version AS version,
        CASE WHEN event_type IN ('MoneyDeposited', 'TransferReceived') THEN 1 ELSE -1 END
            * (pupctl_json(payload) ->> 'amount_cents')::bigint AS amount_cents
    FROM batch
    WHERE event_type IN
        ('MoneyDeposited', 'TransferReceived', 'MoneyWithdrawn', 'TransferSent')
) AS movement
LEFT JOIN wallet_balances AS before ON before.wallet_id = movement.wallet_id;

-- The balances, with the statements that have just been written.

INSERT INTO wallet_balances AS t (wallet_id, balance_cents, movements)
SELECT batch.aggregate_id, coalesce(sum(line.amount_cents), 0), count(line.version)
FROM batch
LEFT JOIN wallet_statements AS line
    ON line.wallet_id = batch.aggregate_id AND line.version = batch.aggregate_version
GROUP BY batch.aggregate_id
ON CONFLICT (wallet_id) DO UPDATE SET
    balance_cents = t.balance_cents + excluded.balance_cents,
    movements = t.movements + excluded.movements;

-- The owner that was named last.

UPDATE wallet_balances AS t
SET owner = latest.owner
FROM (
    SELECT DISTINCT ON (aggregate_id) aggregate_id, pupctl_json(payload) ->> 'owner' AS owner
    FROM batch
    WHERE event_type IN ('WalletOpened', 'OwnerChanged')
    ORDER BY aggregate_id, global_position DESC
) AS latest
WHERE t.wallet_id = latest.aggregate_id;

-- A wallet that is closed has no balance any more; its statement stays.

DELETE FROM wallet_balances
WHERE wallet_id IN (SELECT aggregate_id FROM batch WHERE event_type = 'WalletClosed');
