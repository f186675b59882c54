-- One row per spine row, in spine order: what the lender knew of a loan before the cutoff.
-- The same rows as overdue_loans.py, to the last bit.
--
-- Seen are events that happened and were recorded strictly before the cutoff, but for those that
-- were corrected by then: a correction that came later was not known. A correction has the subject
-- of what it corrects, so that every row is made of the events of one loan. Days are calendar days in
-- UTC. Money stands in the payload as text, and goes to DECIMAL without a double in between.
WITH corrections AS (
    SELECT subject, source, corrects AS id, min(recorded_at) AS corrected_at
    FROM events
    WHERE corrects IS NOT NULL
    GROUP BY subject, source, corrects
),
seen AS (
    SELECT
        spine.spine_row,
        (spine.cutoff AT TIME ZONE 'UTC')::DATE AS cutoff_on,
        events.type,
        (events.time AT TIME ZONE 'UTC')::DATE AS happened_on,
        events.data
    FROM spine
    JOIN events ON events.subject = spine.loan
    LEFT JOIN corrections
        ON corrections.subject = events.subject AND corrections.source = events.source AND corrections.id = events.id
    WHERE events.time < spine.cutoff
        AND events.recorded_at < spine.cutoff
        AND events.correction IS DISTINCT FROM 'retract'
        AND (corrected_at IS NULL OR corrected_at >= spine.cutoff)
),
-- A loan is granted once. Grouping shows that no spine row can become two.
terms AS (
    SELECT
        spine_row,
        max(json_extract_string(data, '$.principal')::DECIMAL(18, 2)) AS principal,
        max(json_extract_string(data, '$.term_months')::BIGINT) AS term_months,
        max(json_extract_string(data, '$.rate')::DECIMAL(9, 4)) AS rate
    FROM seen
    WHERE type = 'loan.granted'
    GROUP BY spine_row
),
instalments AS (
    SELECT
        spine_row,
        cutoff_on,
        json_extract_string(data, '$.instalment')::BIGINT AS instalment,
        json_extract_string(data, '$.due')::DATE AS due_on,
        json_extract_string(data, '$.amount')::DECIMAL(18, 2) AS amount
    FROM seen
    WHERE type = 'instalment.scheduled'
),
payments AS (
    SELECT
        spine_row,
        happened_on AS paid_on,
        json_extract_string(data, '$.instalment')::BIGINT AS instalment,
        json_extract_string(data, '$.amount')::DECIMAL(18, 2) AS amount
    FROM seen
    WHERE type = 'payment.received'
),
received AS (
    SELECT spine_row, instalment, sum(amount) AS received
    FROM payments
    GROUP BY spine_row, instalment
),
-- Only instalments that fell due before the cutoff; an unpaid one is late up to the cutoff.
fallen_due AS (
    SELECT
        instalments.spine_row,
        sum(instalments.amount)::DECIMAL(18, 2) AS scheduled,
        max(cutoff_on - due_on) FILTER (
            WHERE coalesce(received.received, 0) < instalments.amount
        ) AS unpaid_days_late
    FROM instalments
    LEFT JOIN received
        ON received.spine_row = instalments.spine_row
        AND received.instalment = instalments.instalment
    WHERE due_on < cutoff_on
    GROUP BY instalments.spine_row
),
paid AS (
    SELECT
        payments.spine_row,
        count(*) AS payments,
        count(*) FILTER (WHERE paid_on > due_on) AS late_payments,
        sum(payments.amount)::DECIMAL(18, 2) AS paid,
        max(paid_on - due_on) AS paid_days_late,
        max(paid_on) AS last_paid_on
    FROM payments
    LEFT JOIN instalments
        ON instalments.spine_row = payments.spine_row
        AND instalments.instalment = payments.instalment
    GROUP BY payments.spine_row
),
chased AS (
    SELECT
        spine_row,
        count(*) FILTER (WHERE type = 'payment.missed') AS missed,
        count(*) FILTER (WHERE type = 'reminder.sent') AS reminders
    FROM seen
    GROUP BY spine_row
),
features AS (
    SELECT
        spine.spine_row,
        spine.loan,
        terms.principal,
        terms.term_months,
        terms.rate,
        coalesce(fallen_due.scheduled, 0)::DECIMAL(18, 2) AS scheduled,
        coalesce(paid.payments, 0)::BIGINT AS payments,
        coalesce(paid.late_payments, 0)::BIGINT AS late_payments,
        coalesce(paid.paid, 0)::DECIMAL(18, 2) AS paid,
        coalesce(chased.missed, 0)::BIGINT AS missed,
        coalesce(chased.reminders, 0)::BIGINT AS reminders,
        greatest(
            coalesce(fallen_due.unpaid_days_late, 0), coalesce(paid.paid_days_late, 0), 0
        )::BIGINT AS worst_days_late,
        ((spine.cutoff AT TIME ZONE 'UTC')::DATE - paid.last_paid_on)::BIGINT
            AS days_since_last_payment,
        spine.overdue
    FROM spine
    LEFT JOIN terms ON terms.spine_row = spine.spine_row
    LEFT JOIN fallen_due ON fallen_due.spine_row = spine.spine_row
    LEFT JOIN paid ON paid.spine_row = spine.spine_row
    LEFT JOIN chased ON chased.spine_row = spine.spine_row
)
SELECT
    loan,
    principal,
    term_months,
    rate,
    scheduled,
    payments,
    late_payments,
    paid,
    -- The one float: cents by cents, both exact as doubles. Null if nothing had fallen due.
    (paid * 100)::BIGINT::DOUBLE / nullif((scheduled * 100)::BIGINT, 0)::DOUBLE AS share_paid,
    missed,
    reminders,
    worst_days_late,
    days_since_last_payment,
    overdue
FROM features
ORDER BY spine_row
