
SELECT spine_row AS k, loan, count(p.sequence) AS payments, coalesce(sum(p.amount), 0)::DECIMAL(18, 2) AS paid
FROM spine LEFT JOIN "payment.received" AS p ON p.subject = loan AND p.time < cutoff
GROUP BY spine_row, loan
