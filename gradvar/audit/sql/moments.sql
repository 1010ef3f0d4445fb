-- Sound rows of a file by step: the moments of the reward, of its parts and of the length.
WITH fields AS ($fields),
rewarded AS (SELECT *, $reward AS reward FROM fields),
checked AS (SELECT *, CASE $faults END AS fault FROM rewarded)
SELECT CAST(step.value AS BIGINT) AS step, $moments
FROM checked
WHERE fault IS NULL
GROUP BY step.value
