//! Dates of HTTP headers.

use std::time::{Duration, SystemTime};

/// Reads a date in the many forms in which servers write it (RFC 6265 § 5.1.1).
pub(crate) fn date(text: &str) -> Option<SystemTime> {
    const MONTHS: &str = "janfebmaraprmayjunjulaugsepoctnovdec";
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.split(|c: char| !c.is_ascii_alphanumeric() && c != ':') {
        // Small numbers, which no sum leads out of their range.
        let number = |text: &str| text.parse::<u16>().ok().map(i64::from);
        if time.is_none() && token.contains(':') {
            let mut parts = token.splitn(3, ':').map(number);
            let (h, m, s) = (parts.next()??, parts.next()??, parts.next()??);
            if h > 23 || m > 59 || s > 59 {
                return None;
            }
            time = Some(h * 3600 + m * 60 + s);
        } else if let (None, Some(number), 1..=2) = (day, number(token), token.len()) {
            day = Some(number);
        } else if let (None, Some(name)) = (month, token.get(..3)) {
            let at = MONTHS.find(&name.to_ascii_lowercase());
            month = at.filter(|at| at % 3 == 0).map(|at| at as i64 / 3 + 1);
            year = year.or_else(|| number(token));
        } else if let (None, Some(number)) = (year, number(token)) {
            year = Some(match number {
                0..=69 => number + 2000,
                70..=99 => number + 1900,
                _ => number,
            });
        }
    }
    let (time, day, month, year) = (time?, day?, month?, year?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=last).contains(&day) || year < 1601 {
        return None;
    }
    // Days of a calendar whose year begins in March, so that a leap day is the last.
    let (years, months) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let days = years * 365 + years / 4 - years / 100 + years / 400 + (months * 153 + 2) / 5 + day;
    let secs = u64::try_from((days - 719_469) * 86_400 + time).unwrap_or(0);
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(secs))
}

/// Writes a date as RFC 9110 § 5.6.7 prefers it. One before 1970 becomes its beginning.
pub(super) fn format(time: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb",
    ];
    let secs = time.duration_since(SystemTime::UNIX_EPOCH);
    let secs = secs.unwrap_or_default().as_secs();
    let (days, time) = (secs / 86_400, secs % 86_400);
    // Days of a calendar whose year begins in March, so that a leap day is the last.
    let since = days + 719_468;
    let (era, day_of_era) = (since / 146_097, since % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + u64::from(month >= 10);
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        DAYS[(days % 7) as usize],
        MONTHS[month as usize],
        time / 3600,
        time / 60 % 60,
        time % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_every_form() {
        let at = |secs| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(secs));
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "6 november 1994 8:49:37",
        ] {
            assert_eq!(date(text), at(784_111_777), "{text}");
        }
        assert_eq!(date("Thu, 01-Jan-1970 00:00:01 GMT"), at(1));
        assert_eq!(date("Thu, 29 Feb 2024 00:00:00 GMT"), at(1_709_164_800));
        assert_eq!(date("Mon, 01 Jan 1601 00:00:00 GMT"), at(0));
        for text in [
            "",
            "soon",
            "0",
            "1:2:3 1 Jan",
            "Thu, 00 Jan 1970 00:00:00 GMT",
            "Thu, 32 Jan 1970 00:00:00 GMT",
            "Thu, 29 Feb 2023 00:00:00 GMT",
            "Thu, 01 Jan 1600 00:00:00 GMT",
            "Thu, 01 Jan 1970 24:00:00 GMT",
            "Thu, 01 Jan 1970 00:60:00 GMT",
            "Thu, 01 Jan 1970 00:00:60 GMT",
            "Jan 1 9999999999999999999 00:00:00",
            "Jan 1 1999 9999999999999999:0:0",
        ] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn dates_are_written_as_they_are_read() {
        for text in [
            "Thu, 01 Jan 1970 00:00:00 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Thu, 29 Feb 2024 23:59:59 GMT",
            "Fri, 01 Mar 2024 00:00:00 GMT",
            "Tue, 31 Dec 2999 23:59:59 GMT",
        ] {
            assert_eq!(format(date(text).unwrap()), text);
        }
    }
}
