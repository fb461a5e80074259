//! Pure: How Go prints values: numbers with a point in `%g`'s form (1000000 from JSON is `1e+06`), pairs of keys as the
//! structs they are in confd.

use gotmpl::Value;

/// Decimal exponents that Go prints without one; outside of them it writes `1e+06`.
const PLAIN_EXPONENTS: std::ops::Range<i32> = -4..6;

/// A value as an action prints it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Nil => "<no value>".to_owned(),
        other => inner(other),
    }
}

/// A value inside of another.
pub(super) fn inner(value: &Value) -> String {
    match value {
        Value::Float(number) => float(*number),
        Value::List(list) => {
            let texts: Vec<String> = list.iter().map(inner).collect();
            format!("[{}]", texts.join(" "))
        }
        Value::Map(map) => match (map.get("Key"), map.get("Value")) {
            (Some(Value::String(key)), Some(Value::String(value))) if map.len() == 2 => {
                format!("{{{key} {value}}}")
            }
            _ => {
                let texts: Vec<String> = map
                    .iter()
                    .map(|(key, value)| format!("{key}:{}", inner(value)))
                    .collect();
                format!("map[{}]", texts.join(" "))
            }
        },
        other => other.to_string(),
    }
}

/// Go's `strconv.FormatFloat(f, 'g', -1, 64)`.
pub(super) fn float(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return match number {
            number if number.is_nan() => "NaN".to_owned(),
            f64::INFINITY => "+Inf".to_owned(),
            f64::NEG_INFINITY => "-Inf".to_owned(),
            number if number.is_sign_negative() => "-0".to_owned(),
            _ => "0".to_owned(),
        };
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if PLAIN_EXPONENTS.contains(&exponent) {
        return number.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_gos() {
        for (number, wanted) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (1.5, "1.5"),
            (-8080.0, "-8080"),
            (999_999.0, "999999"),
            (1_000_000.0, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (1e100, "1e+100"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(float(number), wanted);
        }
    }
}
