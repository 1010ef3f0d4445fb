-- Rows of a file, with no more of each than is added up: what part.sql, cells.sql and faults.sql begin with.
WITH fields AS ($fields),
rewarded AS (SELECT *, $reward AS reward FROM fields),
checked AS (SELECT *, CASE $faults END AS fault FROM rewarded),
reduced AS (
  SELECT
    number, fault.reason AS reason, fault.shown AS shown, fault IS NULL AS sound,
    CASE WHEN sound THEN CAST(step.value AS BIGINT) END AS step,
    CASE WHEN sound THEN short_key(grp) END AS grp,
    CASE WHEN sound THEN short_key(prompt) END AS prompt,
    CASE WHEN sound AND (text IS NOT NULL OR strlen(prompt) > 64) THEN left(coalesce(text, prompt), $shown) END AS beginning,
    CASE WHEN sound AND text IS NOT NULL THEN CAST(hash(text) >> 1 AS BIGINT) END AS meaning,
    CASE WHEN sound THEN left(source, $shown) END AS source,
    CASE WHEN sound THEN reward END AS reward,
    CASE WHEN sound THEN usable(advantage) END AS advantage,
    CASE WHEN sound THEN usable(length) END AS length,
    CASE WHEN sound THEN usable(logp) END AS logp
  FROM checked
)
