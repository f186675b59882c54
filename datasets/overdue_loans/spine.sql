-- One example per granted loan: is it overdue in the 90 days after its third instalment falls due?
--
-- cutoff   00:00 UTC of the due date of the third instalment. Features see only what came before.
-- horizon  cutoff + 90 days. The label is about the instants t with cutoff <= t < horizon.
-- overdue  true if at some such t some instalment was at least 30 days past due (t >= due + 30
--          days, days of 24 hours) and not fully paid: the payments made for it up to and
--          including t add up to less than its amount.
--
-- Only what was recorded before the horizon counts, corrections too, whatever is heard later. A loan is an example
-- once recorded_at has reached its horizon, so a label given once is never changed by later events.
--
-- What was received never shrinks. So an instalment is overdue at some t if and only if it is at
-- the first t where it can be, the later of cutoff and due + 30 days: one sum, no running total.
--
-- Instants are TIMESTAMP in UTC in between: TIMESTAMPTZ + INTERVAL would depend on the session's zone.
WITH instalments AS (
    SELECT
        subject AS loan,
        recorded_at AT TIME ZONE 'UTC' AS recorded_at,
        json_extract_string(data, '$.instalment')::BIGINT AS instalment,
        json_extract_string(data, '$.due')::TIMESTAMP AS due,
        json_extract_string(data, '$.amount')::DECIMAL(18, 2) AS amount
    FROM events
    WHERE type = 'instalment.scheduled'
),
corrections AS (
    SELECT source, corrects AS id, min(recorded_at) AT TIME ZONE 'UTC' AS corrected_at
    FROM events
    WHERE corrects IS NOT NULL
    GROUP BY source, corrects
),
payments AS (
    SELECT
        subject AS loan,
        time AT TIME ZONE 'UTC' AS time,
        recorded_at AT TIME ZONE 'UTC' AS recorded_at,
        corrected_at,
        json_extract_string(data, '$.instalment')::BIGINT AS instalment,
        json_extract_string(data, '$.amount')::DECIMAL(18, 2) AS amount
    FROM events
    LEFT JOIN corrections USING (source, id)
    WHERE type = 'payment.received' AND correction IS DISTINCT FROM 'retract'
),
lake AS (
    SELECT max(recorded_at) AT TIME ZONE 'UTC' AS latest FROM events
),
examples AS (
    SELECT loan, due AS cutoff, due + INTERVAL 90 DAY AS horizon
    FROM instalments, lake
    WHERE instalment = 3 AND due + INTERVAL 90 DAY <= latest
),
judged AS (
    SELECT
        loan,
        cutoff,
        horizon,
        instalment,
        amount,
        greatest(cutoff, due + INTERVAL 30 DAY) AS judged_at
    FROM examples
    JOIN instalments USING (loan)
    WHERE due + INTERVAL 30 DAY < horizon AND recorded_at < horizon
),
verdicts AS (
    SELECT
        judged.loan,
        judged.cutoff,
        coalesce(sum(payments.amount), 0) < judged.amount AS overdue
    FROM judged
    LEFT JOIN payments
        ON payments.loan = judged.loan
        AND payments.instalment = judged.instalment
        AND payments.time <= judged.judged_at
        AND payments.recorded_at < judged.horizon
        AND (payments.corrected_at IS NULL OR payments.corrected_at >= judged.horizon)
    GROUP BY judged.loan, judged.cutoff, judged.instalment, judged.amount
)
SELECT
    loan,
    cutoff AT TIME ZONE 'UTC' AS cutoff,
    bool_or(overdue) AS overdue
FROM verdicts
GROUP BY loan, cutoff
ORDER BY loan, cutoff
