-- One row per loan: what the bank could know on the day it granted the loan, and whether the loan went overdue.
--
-- Only loans with a complete history are here. The transactions that could be had are those of every account up to
-- 1994-03-31 (that last day is cut short: it counts for a grant after it only, and none is here), and those of the
-- accounts whose loan was granted from 1997-01-01 on, from opening to the day before the grant. So a loan granted up to
-- 1994-03-31 (38 of them) or from 1997-01-01 on (354) has its whole history in the lake. The 290 in between do not: a
-- count of theirs would count what happens to be in the files.
--
-- Cutoff: midnight UTC of the day of the grant, exclusive. The data has dates only, so a transaction on that day may
-- have come after the loan; it is left out. Windows are [grant - n days, grant). An empty window counts 0 and sums 0;
-- min, max, mean and last are null there. Where the last day before the grant has several transactions, the last
-- balance is that of the highest sequence. recorded_at is not read: mapping.toml sets it to time, so that what had happened
-- before the grant was also recorded before it.
--
-- The label, overdue, comes from loan.status_reported of 1998-12-31 and so lies after every cutoff by construction. It
-- is also as of that day: a loan that is running then may still go overdue. The owner's and the district's attributes
-- are undated (see mapping.toml); the district's figures named after 1995 and 1996 are not used, because for the loans of
-- 1993-94 they lie after the cutoff for certain.
--
-- Exact: integers, decimals, dates and booleans all the way; a float only in the last step, one division of an integer
-- by an integer, each turned into a double first. Money stands in the payload as text and is cast to DECIMAL(18,2).
WITH
loans AS (
    SELECT
        sequence AS granted_as,
        subject,
        time AS granted_at,
        (time AT TIME ZONE 'UTC')::DATE AS granted,
        (data ->> 'loan_id')::BIGINT AS loan_id,
        (data ->> 'account_id')::BIGINT AS account_id,
        (data ->> 'amount')::DECIMAL(18, 2) AS amount,
        (data ->> 'duration_months')::BIGINT AS duration_months,
        (data ->> 'payments')::DECIMAL(18, 2) AS payments
    FROM events
    WHERE type = 'loan.granted'
        AND (time < TIMESTAMPTZ '1994-04-01 00:00:00+00' OR time >= TIMESTAMPTZ '1997-01-01 00:00:00+00')
),

labels AS (
    SELECT
        (data ->> 'loan_id')::BIGINT AS loan_id,
        (data ->> 'status') AS status,
        -- A finished and paid, B finished and unpaid, C running, D running and in debt.
        (data ->> 'status') IN ('B', 'D') AS overdue
    FROM events
    WHERE type = 'loan.status_reported'
),

accounts AS (
    SELECT
        subject,
        (time AT TIME ZONE 'UTC')::DATE AS opened,
        (data ->> 'statement_frequency') AS statement_frequency,
        (data ->> 'owner_birth_date')::DATE AS owner_birth_date,
        (data ->> 'owner_gender') AS owner_gender,
        (data ->> 'disponent_count')::BIGINT AS disponent_count,
        (data ->> 'district_region') AS district_region,
        (data ->> 'district_average_salary')::BIGINT AS district_average_salary
    FROM events
    WHERE type = 'account.opened'
),

cards AS (
    SELECT l.loan_id, count(*) AS cards_before
    FROM loans AS l
    JOIN events AS e ON e.subject = l.subject
    WHERE e.type = 'card.issued' AND e.time < l.granted_at
    GROUP BY l.loan_id
),

transactions AS (
    SELECT
        sequence,
        subject,
        time,
        (time AT TIME ZONE 'UTC')::DATE AS posted,
        (data ->> 'type') = 'credit' AS is_credit,
        (data ->> 'operation') AS operation,
        (data ->> 'purpose') AS purpose,
        (data ->> 'amount')::DECIMAL(18, 2) AS amount,
        (data ->> 'balance')::DECIMAL(18, 2) AS balance
    FROM events
    WHERE type = 'transaction.posted'
),

-- Every transaction strictly before the grant, once per loan of its account; recency 1 is the last one. A transaction and a
-- grant are one row together, so the order ends in the sequences of both: that a loan is granted once is nobody's promise.
history AS (
    SELECT
        l.loan_id,
        l.granted - t.posted AS days_before,
        t.is_credit,
        t.operation,
        t.purpose,
        t.amount,
        t.balance,
        (t.balance * 100)::BIGINT AS balance_cents,
        row_number() OVER (PARTITION BY l.loan_id ORDER BY t.time DESC, t.sequence DESC, l.granted_as DESC) AS recency
    FROM loans AS l
    JOIN transactions AS t ON t.subject = l.subject
    WHERE t.time < l.granted_at
),

features AS (
    SELECT
        loan_id,
        count(*) AS transactions,
        count(*) FILTER (days_before <= 30) AS transactions_30d,
        count(*) FILTER (days_before <= 90) AS transactions_90d,
        count(*) FILTER (days_before <= 180) AS transactions_180d,
        min(days_before) AS days_since_transaction,
        max(balance) FILTER (recency = 1) AS balance_last,
        min(balance) AS balance_min,
        max(balance) AS balance_max,
        sum(balance_cents) AS balance_cents,
        min(balance) FILTER (days_before <= 90) AS balance_min_90d,
        min(balance) FILTER (days_before <= 180) AS balance_min_180d,
        sum(balance_cents) FILTER (days_before <= 90) AS balance_cents_90d,
        sum(amount) FILTER (is_credit AND days_before <= 30) AS credits_30d,
        sum(amount) FILTER (is_credit AND days_before <= 90) AS credits_90d,
        sum(amount) FILTER (NOT is_credit AND days_before <= 30) AS withdrawals_30d,
        sum(amount) FILTER (NOT is_credit AND days_before <= 90) AS withdrawals_90d,
        sum(amount) FILTER (operation = 'cash_deposit') AS cash_deposits,
        sum(amount) FILTER (operation = 'cash_withdrawal') AS cash_withdrawals,
        sum(amount) FILTER (operation = 'transfer_in') AS transfers_in,
        sum(amount) FILTER (operation = 'transfer_out') AS transfers_out,
        sum(amount) FILTER (purpose = 'household') AS household_payments,
        sum(amount) FILTER (purpose = 'interest_credited') AS interest_credited,
        count(*) FILTER (purpose = 'sanction_interest') AS sanction_interest_count
    FROM history
    GROUP BY loan_id
)

SELECT
    l.loan_id,
    l.account_id,
    l.granted,
    l.amount,
    l.duration_months,
    l.payments,
    -- The label twice: neither is a feature.
    s.status,
    s.overdue,
    a.statement_frequency,
    a.owner_gender,
    date_sub('year', a.owner_birth_date, l.granted) AS owner_age_years,
    a.disponent_count,
    a.district_region,
    a.district_average_salary,
    l.granted - a.opened AS days_since_opening,
    coalesce(c.cards_before, 0) > 0 AS card_issued,
    coalesce(f.transactions, 0) AS transactions,
    coalesce(f.transactions_30d, 0) AS transactions_30d,
    coalesce(f.transactions_90d, 0) AS transactions_90d,
    coalesce(f.transactions_180d, 0) AS transactions_180d,
    f.days_since_transaction,
    f.balance_last,
    f.balance_min,
    f.balance_max,
    f.balance_cents::DOUBLE / (f.transactions * 100)::DOUBLE AS balance_mean,
    f.balance_min_90d,
    f.balance_min_180d,
    f.balance_cents_90d::DOUBLE / (f.transactions_90d * 100)::DOUBLE AS balance_mean_90d,
    coalesce(f.credits_30d, 0)::DECIMAL(18, 2) AS credits_30d,
    coalesce(f.credits_90d, 0)::DECIMAL(18, 2) AS credits_90d,
    coalesce(f.withdrawals_30d, 0)::DECIMAL(18, 2) AS withdrawals_30d,
    coalesce(f.withdrawals_90d, 0)::DECIMAL(18, 2) AS withdrawals_90d,
    coalesce(f.cash_deposits, 0)::DECIMAL(18, 2) AS cash_deposits,
    coalesce(f.cash_withdrawals, 0)::DECIMAL(18, 2) AS cash_withdrawals,
    coalesce(f.transfers_in, 0)::DECIMAL(18, 2) AS transfers_in,
    coalesce(f.transfers_out, 0)::DECIMAL(18, 2) AS transfers_out,
    coalesce(f.household_payments, 0)::DECIMAL(18, 2) AS household_payments,
    coalesce(f.interest_credited, 0)::DECIMAL(18, 2) AS interest_credited,
    coalesce(f.sanction_interest_count, 0) AS sanction_interest_count
FROM loans AS l
LEFT JOIN labels AS s ON s.loan_id = l.loan_id
LEFT JOIN accounts AS a ON a.subject = l.subject
LEFT JOIN cards AS c ON c.loan_id = l.loan_id
LEFT JOIN features AS f ON f.loan_id = l.loan_id
ORDER BY l.loan_id
