-- The one way from text to a number: NaN and infinities are numbers here, underscores between digits are not.
-- An argument is written once here: what stands twice is computed for every row, also where it is not needed.
CREATE MACRO number_of_word(t) AS TRY_CAST(replace(regexp_replace(regexp_replace(
  t, '^\p{Zs}*[Tt][Rr][Uu][Ee]\p{Zs}*$', '1'), '^\p{Zs}*[Ff][Aa][Ll][Ss][Ee]\p{Zs}*$', '0'), '_', '?') AS DOUBLE);
CREATE MACRO number_of_text(t) AS coalesce(CASE WHEN NOT contains(t, '_') THEN TRY_CAST(t AS DOUBLE) END, number_of_word(t));

-- A value, its meaning as a number (NULL if it has none), and the text to show where it should have had one.
CREATE MACRO text_number(t) AS {'value': number_of_text(t), 'missing': t IS NULL, 'shown': NULL::VARCHAR};
CREATE MACRO plain_number(x) AS {'value': CAST(x AS DOUBLE), 'missing': x IS NULL, 'shown': NULL::VARCHAR};
CREATE MACRO no_number(x) AS {'value': NULL::DOUBLE, 'missing': x IS NULL, 'shown': NULL::VARCHAR};
CREATE MACRO json_text(j) AS CASE WHEN starts_with(j, '"') THEN json_extract_string(j, '$') WHEN j <> 'null' THEN j END;
-- Most are numbers as they stand, and JSON has no underscores in those.
CREATE MACRO json_number(j) AS {
  'value': coalesce(TRY_CAST(j AS DOUBLE), number_of_word(json_text(j))), 'missing': coalesce(j = 'null', true), 'shown': j
};

-- global_step_10 is 10 after these words; other words may mean other steps.
CREATE MACRO named_number(t, words) AS {
  'value': number_of_text(CASE WHEN starts_with(t, words) THEN substr(t, length(words) + 1) ELSE t END),
  'missing': t IS NULL, 'shown': t
};

-- Keys in one form for all formats: 5, 5.0 and "5" are the same prompt.
CREATE MACRO number_key(x) AS CASE
  WHEN x = trunc(x) AND abs(x) < 1e18 THEN CAST(CAST(x AS BIGINT) AS VARCHAR) ELSE CAST(x AS VARCHAR)
END;
CREATE MACRO json_key(j) AS CASE
  WHEN starts_with(j, '"') THEN json_extract_string(j, '$')
  WHEN starts_with(j, '[') OR starts_with(j, '{') THEN canonical_json(j)
  WHEN TRY_CAST(j AS DOUBLE) IS NOT NULL AND regexp_matches(j, '[.eE]') THEN number_key(TRY_CAST(j AS DOUBLE))
  ELSE json_text(j)
END;
-- A key of up to 64 bytes is kept to be shown; of a longer one, its hash, which is longer than any kept key.
CREATE MACRO short_key(k) AS CASE WHEN strlen(k) <= 64 THEN k ELSE '#' || sha256(k) END;

CREATE MACRO usable(x) AS CASE WHEN abs(x.value) <= 1e100 THEN x.value END;
