//! Dates and durations as `--to-datetime` and `--by-duration` take them.

const DAY_MS: i64 = 86_400_000;

/// Milliseconds since 1970 of `YYYY-MM-DDThh:mm:ss[.sss]`, in UTC or with `Z`, `+hh`, `+hhmm` or
/// `+hh:mm` after it.
pub(crate) fn datetime_ms(text: &str) -> Result<i64, String> {
    let bad = || format!("Unparseable date: \"{text}\"");
    let Some((date, rest)) = text.split_once('T') else {
        let what = "It does not contain a 'T' according to ISO8601 format";
        return Err(format!("java.text.ParseException: Error parsing timestamp. {what}"));
    };
    let zone_at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone_at);
    let date = numbers(date, '-').ok_or_else(bad)?;
    let (clock, millis) = time.split_once('.').unwrap_or((time, "0"));
    let clock = numbers(clock, ':').ok_or_else(bad)?;
    let ([year, month, day], [hour, minute, second]) = (date, clock);
    let millis: i64 = (millis.len() <= 3).then(|| millis.parse().ok()).flatten().ok_or_else(bad)?;
    let is_valid = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..60).contains(&second)
        && (1..=9999).contains(&year);
    if !is_valid {
        return Err(bad());
    }
    let day_ms = ((hour * 60 + minute) * 60 + second) * 1000 + millis;
    let zone_ms = zone_minutes(zone).ok_or_else(bad)? * 60_000;
    Ok(days_from_1970(year, month, day) * DAY_MS + day_ms - zone_ms)
}

/// Milliseconds of an ISO duration of days and smaller: `P2DT3H4M5.6S`, `-PT1M`.
pub(crate) fn duration_ms(text: &str) -> Result<i64, String> {
    parse_duration(text).ok_or_else(|| "Text cannot be parsed to a Duration".to_owned())
}

fn parse_duration(text: &str) -> Option<i64> {
    let text = text.to_ascii_uppercase();
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(&text)),
    };
    let rest = rest.strip_prefix('P')?;
    let (days, time) = rest.split_once('T').map_or((rest, None), |(d, t)| (d, Some(t)));
    let mut total = 0_i64;
    let mut parts = 0;
    for (mut rest, units) in [
        (days, &[('D', DAY_MS)][..]),
        (time.unwrap_or(""), &[('H', 3_600_000), ('M', 60_000), ('S', 1000)]),
    ] {
        for &(unit, unit_ms) in units {
            let Some((number, tail)) = rest.split_once(unit) else { continue };
            total = total.checked_add(scaled(number, unit_ms, unit == 'S')?)?;
            parts += 1;
            rest = tail;
        }
        if !rest.is_empty() {
            return None;
        }
    }
    (parts > 0 && time != Some("")).then_some(sign * total)
}

/// `number` times `unit_ms`; a fraction only where it is allowed.
fn scaled(number: &str, unit_ms: i64, may_have_fraction: bool) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').map_or((number, None), |(w, f)| (w, Some(f)));
    let ms = whole.parse::<i64>().ok()?.checked_mul(unit_ms)?;
    let Some(fraction) = fraction else { return Some(ms) };
    if !may_have_fraction || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = format!("{fraction:0<3}");
    let fraction_ms: i64 = digits[..3].parse().ok()?;
    Some(if whole.starts_with('-') { ms - fraction_ms } else { ms + fraction_ms })
}

/// Three numbers without a sign.
fn numbers(text: &str, between: char) -> Option<[i64; 3]> {
    let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<_> = text.split(between).collect();
    let numbers: Vec<i64> =
        parts.iter().filter(|p| is_plain(p)).filter_map(|p| p.parse().ok()).collect();
    numbers.try_into().ok().filter(|_| parts.len() == 3)
}

fn zone_minutes(zone: &str) -> Option<i64> {
    if zone.is_empty() || zone == "Z" {
        return Some(0);
    }
    let (sign, digits) = zone.split_at(1);
    let digits = digits.replace(':', "");
    let (hours, minutes) = match digits.len() {
        2 => (digits.parse::<i64>().ok()?, 0),
        4 => (digits[..2].parse::<i64>().ok()?, digits[2..].parse::<i64>().ok()?),
        _ => return None,
    };
    let total = hours * 60 + minutes;
    (total < 24 * 60).then_some(if sign == "-" { -total } else { total })
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01; years begin in March here, so that the leap day is the last of a year.
fn days_from_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_utc_unless_a_zone_is_given() {
        let known = [
            ("1970-01-01T00:00:00.000", 0),
            ("2020-01-01T00:00:00.000", 1_577_836_800_000),
            ("2024-02-29T23:59:59.999", 1_709_251_199_999),
            ("2000-03-01T00:00:00.000Z", 951_868_800_000),
            ("1969-12-31T23:59:59.000", -1000),
            ("2020-01-01T02:00:00.000+02:00", 1_577_836_800_000),
            ("2020-01-01T02:00:00.000+0200", 1_577_836_800_000),
            ("2019-12-31T19:00:00.000-05", 1_577_836_800_000),
            ("2020-01-01T00:00:00", 1_577_836_800_000),
        ];
        for (text, ms) in known {
            assert_eq!(datetime_ms(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "2030-01-01",
            "2023-02-29T00:00:00.000",
            "2020-13-01T00:00:00.000",
            "xTy",
            "2020-01-01T24:00:00.000",
            "2020-01-01T00:00:00.000+25:00",
            "2020-01-+1T00:00:00.0",
        ] {
            assert!(datetime_ms(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_iso() {
        let known = [
            ("PT1M", 60_000),
            ("P2DT3H4M5.678S", 2 * DAY_MS + 11_045_678),
            ("-PT1S", -1000),
            ("PT-1.5S", -1500),
            ("p1d", DAY_MS),
        ];
        for (text, ms) in known {
            assert_eq!(duration_ms(text), Ok(ms), "{text}");
        }
        for text in ["5", "P", "PT", "PT1", "P1H", "PT1.5M", "P1DT", "PT1M1H"] {
            assert!(duration_ms(text).is_err(), "{text}");
        }
    }
}
