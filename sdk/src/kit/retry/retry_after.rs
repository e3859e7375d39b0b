//! The HTTP header `Retry-After`: [`parse_retry_after`].

use std::time::{Duration, SystemTime};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Reads a `Retry-After` header: seconds, or the time to wait for as an HTTP date (`Wed, 21 Oct 2026 07:28:00 GMT`). A time
/// in the past is no wait; anything else is `None`.
///
/// ```
/// use iggy_connector_sdk::retry::parse_retry_after;
///
/// assert_eq!(parse_retry_after("120").map(|delay| delay.as_secs()), Some(120));
/// assert_eq!(parse_retry_after("soon"), None);
/// ```
pub fn parse_retry_after(value: &str) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let time = http_date(value)?;
    Some(time.duration_since(SystemTime::now()).unwrap_or_default())
}

/// `Wed, 21 Oct 2026 07:28:00 GMT`, the one form that servers write today.
fn http_date(value: &str) -> Option<SystemTime> {
    let (_weekday, rest) = value.split_once(", ")?;
    let parts: Vec<_> = rest.split(' ').collect();
    let [day, month, year, time, "GMT"] = parts[..] else {
        return None;
    };
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    humantime::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read_and_nonsense_is_not() {
        assert_eq!(parse_retry_after(" 3 "), Some(Duration::from_secs(3)));
        assert_eq!(
            parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT"),
            Some(Duration::ZERO)
        );
        let distant = parse_retry_after("Fri, 31 Dec 9999 23:59:59 GMT").unwrap();
        assert!(distant > Duration::from_secs(1_000_000));
        for bad in [
            "",
            "-1",
            "1.5",
            "Wed, 21 Oct 2015",
            "Wed, 99 Oct 2015 07:28:00 GMT",
            "Wed, 21 X 2015 07:28:00 GMT",
        ] {
            assert_eq!(parse_retry_after(bad), None, "{bad}");
        }
    }
}
