-- One row per loan with a complete history: whose account it is, the day of the grant as the cutoff, the label, and the terms of the loan
-- with the attributes of account, owner and district. ../berka_loans/berka_loans.sql tells which 392 loans these are, and why.
--
-- cutoff   midnight UTC of the day of the grant. Features see only what came before; the terms are of that day.
-- bad      B or D: not paid back, or in debt, as the bank reported on 1998-12-31. That is after every cutoff, so it is a label and nothing
--          else; and a loan that was running then may have gone bad later.
--
-- The attributes of owner and district have no date in the files (../berka_loans/mapping.toml): they are taken to have been as they are.
-- The district's figures named after 1995 and 1996 are left out, because for the loans of 1993 and 1994 they lie after the cutoff.
WITH
loans AS (
    SELECT
        subject,
        time AS cutoff,
        (time AT TIME ZONE 'UTC')::DATE AS granted,
        (data ->> 'loan_id')::BIGINT AS loan_id,
        (data ->> 'amount')::DECIMAL(18, 2) AS amount,
        (data ->> 'duration_months')::BIGINT AS duration_months,
        (data ->> 'payments')::DECIMAL(18, 2) AS payments
    FROM events
    WHERE type = 'loan.granted'
        AND (time < TIMESTAMPTZ '1994-04-01 00:00:00+00' OR time >= TIMESTAMPTZ '1997-01-01 00:00:00+00')
),

labels AS (
    SELECT (data ->> 'loan_id')::BIGINT AS loan_id, (data ->> 'status') IN ('B', 'D') AS bad
    FROM events
    WHERE type = 'loan.status_reported'
),

accounts AS (
    SELECT
        subject,
        (data ->> 'statement_frequency') AS statement_frequency,
        (data ->> 'owner_birth_date')::DATE AS owner_birth_date,
        (data ->> 'owner_gender') AS owner_gender,
        (data ->> 'disponent_count')::BIGINT AS disponent_count,
        (data ->> 'district_region') AS district_region,
        (data ->> 'district_inhabitants')::BIGINT AS district_inhabitants,
        (data ->> 'district_urban_percent')::DECIMAL(4, 1) AS district_urban_percent,
        (data ->> 'district_average_salary')::BIGINT AS district_average_salary,
        (data ->> 'district_entrepreneurs_per_1000')::BIGINT AS district_entrepreneurs_per_1000
    FROM events
    WHERE type = 'account.opened'
)

SELECT
    l.loan_id,
    l.subject,
    l.cutoff,
    s.bad,
    l.amount,
    l.duration_months,
    l.payments,
    a.statement_frequency,
    a.owner_gender,
    date_sub('year', a.owner_birth_date, l.granted) AS owner_age_years,
    a.disponent_count,
    a.district_region,
    a.district_inhabitants,
    a.district_urban_percent,
    a.district_average_salary,
    a.district_entrepreneurs_per_1000
FROM loans AS l
JOIN labels AS s ON s.loan_id = l.loan_id
JOIN accounts AS a ON a.subject = l.subject
ORDER BY l.loan_id
