//! Dates, times, durations and time zones, both ways.

use std::ffi::c_int;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyString, PyTuple};
use retainit_plugin_api::sdk::tree::{self, Date, Time, Timedelta, Zone, DAY};

use super::encode::{Done, Encoder, Stopped};
use super::library::{imported, name, Class};
use super::{text, NotPlain};
use crate::outcall;

/// `datetime`'s C API.
///
/// # Errors
/// What importing `datetime` raised.
fn api(py: Python<'_>) -> PyResult<&'static ffi::PyDateTime_CAPI> {
    // SAFETY: attached; what has been imported is valid for ever.
    unsafe {
        if ffi::PyDateTimeAPI().is_null() {
            outcall::import(py, "datetime")?;
            ffi::PyDateTime_IMPORT();
        }
        ffi::PyDateTimeAPI().as_ref().ok_or_else(|| PyErr::fetch(py))
    }
}

impl<'py> Encoder<'py> {
    /// Writes an object of `datetime`; `false` if it is none.
    pub fn temporal(&mut self, object: &Bound<'py, PyAny>) -> Result<bool, Stopped> {
        // SAFETY: attached.
        if unsafe { ffi::PyDateTimeAPI() }.is_null() {
            let module = imported(self.py, "datetime", "datetime");
            if self.given(module)?.is_none() {
                return Ok(false);
            }
        }
        let api = api(self.py);
        let api = self.given(api)?;
        let kind = object.get_type_ptr();
        let it = object.as_ptr();
        // SAFETY: exact types are checked before their fields are read.
        unsafe {
            if kind == api.DateTimeType {
                let zone = ffi::PyDateTime_DATE_GET_TZINFO(it);
                let fields = [
                    ffi::PyDateTime_DATE_GET_HOUR(it),
                    ffi::PyDateTime_DATE_GET_MINUTE(it),
                    ffi::PyDateTime_DATE_GET_SECOND(it),
                    ffi::PyDateTime_DATE_GET_MICROSECOND(it),
                    ffi::PyDateTime_DATE_GET_FOLD(it) as c_int,
                ];
                let zone = Bound::from_borrowed_ptr_or_opt(self.py, zone).filter(|zone| !zone.is_none());
                self.enclosed(tree::DATETIME, |encoder| {
                    encoder.day(it);
                    encoder.clock(fields, zone)
                })?;
            } else if kind == api.DateType {
                self.extension(tree::DATE, 4)?;
                self.day(it);
            } else if kind == api.DeltaType {
                self.extension(tree::TIMEDELTA, 12)?;
                for field in delta(it) {
                    self.out.extend_from_slice(&field.to_be_bytes());
                }
            } else if kind == api.TimeType {
                let zone = ffi::PyDateTime_TIME_GET_TZINFO(it);
                let fields = [
                    ffi::PyDateTime_TIME_GET_HOUR(it),
                    ffi::PyDateTime_TIME_GET_MINUTE(it),
                    ffi::PyDateTime_TIME_GET_SECOND(it),
                    ffi::PyDateTime_TIME_GET_MICROSECOND(it),
                    ffi::PyDateTime_TIME_GET_FOLD(it) as c_int,
                ];
                let zone = Bound::from_borrowed_ptr_or_opt(self.py, zone).filter(|zone| !zone.is_none());
                self.enclosed(tree::TIME, |encoder| encoder.clock(fields, zone))?;
            } else if kind == ffi::Py_TYPE(api.TimeZone_UTC) {
                self.fixed_zone(object)?;
            } else {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// # Safety
    /// Attached; a date, or a date and time.
    unsafe fn day(&mut self, it: *mut ffi::PyObject) {
        // SAFETY: as promised.
        let (year, month, day) = unsafe {
            (ffi::PyDateTime_GET_YEAR(it), ffi::PyDateTime_GET_MONTH(it), ffi::PyDateTime_GET_DAY(it))
        };
        self.out.extend_from_slice(&(year as u16).to_be_bytes());
        self.out.extend_from_slice(&[month as u8, day as u8]);
    }

    fn clock(&mut self, fields: [c_int; 5], zone: Option<Bound<'py, PyAny>>) -> Done {
        let [hour, minute, second, microsecond, fold] = fields;
        self.out.extend_from_slice(&[hour as u8, minute as u8, second as u8]);
        let [_, high, middle, low] = microsecond.to_be_bytes();
        self.out.extend_from_slice(&[high | (fold as u8) << 7, middle, low]);
        let Some(zone) = zone else { return Ok(()) };
        // SAFETY: attached; the API has been imported for the type of what holds the zone.
        if zone.get_type_ptr() == unsafe { ffi::Py_TYPE(ffi::PyDateTime_TimeZone_UTC()) } {
            return self.fixed_zone(&zone);
        }
        let class = Class::of(self.py, zone.get_type_ptr());
        if self.given(class)? == Some(Class::ZoneInfo) {
            return self.zone_info(&zone);
        }
        let name = zone.get_type().fully_qualified_name();
        let name = self.given(name)?;
        Err(self.refuse(NotPlain::Type(name.to_string())))
    }

    /// A `datetime.timezone`.
    fn fixed_zone(&mut self, zone: &Bound<'py, PyAny>) -> Done {
        // SAFETY: as above.
        if zone.as_ptr() == unsafe { ffi::PyDateTime_TimeZone_UTC() } {
            return self.extension(tree::TIMEZONE, 0);
        }
        let py = self.py;
        let parts = zone
            .call_method0(name!("__getinitargs__").get(py))
            .and_then(|parts| Ok(parts.cast_into::<PyTuple>()?));
        let parts = self.given(parts)?;
        let offset = parts.get_item(0);
        let offset = self.given(offset)?;
        let name = parts.get_item(1).ok();
        let exact = api(self.py).is_ok_and(|api| offset.get_type_ptr() == api.DeltaType)
            && name.as_ref().is_none_or(|name| name.is_exact_instance_of::<PyString>());
        if !exact {
            return Err(self.refuse(NotPlain::Value("a time zone made of subclasses")));
        }
        self.enclosed(tree::TIMEZONE, |encoder| {
            // SAFETY: an exact duration.
            let [days, seconds, microseconds] = unsafe { delta(offset.as_ptr()) }.map(i64::from);
            let offset = days * DAY + seconds * 1_000_000 + microseconds;
            encoder.out.extend_from_slice(&offset.to_be_bytes());
            // SAFETY: attached; an exact string that is held.
            name.map_or(Ok(()), |name| unsafe { encoder.text(name.as_ptr()) })
        })
    }

    /// A `zoneinfo.ZoneInfo`, if it is the one of its key.
    pub fn zone_info(&mut self, zone: &Bound<'py, PyAny>) -> Done {
        // What pickle would call again, with the key, and whether it is the one that everybody gets.
        // It raises for those read from a file.
        let py = self.py;
        let key = zone.call_method0(name!("__reduce__").get(py)).and_then(|reduced| {
            let arguments = reduced.get_item(1)?;
            let shared = arguments.get_item(1)?;
            let shared =
                shared.cast::<PyBool>().map_or_else(|_| shared.is_truthy(), |it| Ok(it.is_true()))?;
            Ok(arguments.get_item(0)?.cast_into_exact::<PyString>().ok().filter(|_| shared))
        });
        match key.as_ref().map(|key| key.as_ref().and_then(|key| key.to_str().ok())) {
            Ok(Some(key)) if !key.is_empty() => {
                self.extension(tree::ZONE, key.len())?;
                self.out.extend_from_slice(key.as_bytes());
                Ok(())
            }
            _ => Err(self.refuse(NotPlain::Value("a time zone that is not the one of its key"))),
        }
    }
}

/// # Safety
/// Attached; a duration.
unsafe fn delta(it: *mut ffi::PyObject) -> [i32; 3] {
    // SAFETY: as promised.
    unsafe {
        [
            ffi::PyDateTime_DELTA_GET_DAYS(it),
            ffi::PyDateTime_DELTA_GET_SECONDS(it),
            ffi::PyDateTime_DELTA_GET_MICROSECONDS(it),
        ]
    }
}

/// A `datetime.date`.
///
/// # Errors
/// There is no memory; so below, unless said otherwise.
pub fn date<'py>(py: Python<'py>, date: Date) -> PyResult<Bound<'py, PyAny>> {
    let (year, month, day) = (c_int::from(date.year), c_int::from(date.month), c_int::from(date.day));
    let api = api(py)?;
    // SAFETY: attached; the result is a new reference or null.
    unsafe { Bound::from_owned_ptr_or_err(py, (api.Date_FromDate)(year, month, day, api.DateType)) }
}

/// A `datetime.time`.
///
/// # Errors
/// As for `zone`.
pub fn time<'py>(py: Python<'py>, time: Time<'_>) -> PyResult<Bound<'py, PyAny>> {
    let tzinfo = time.zone.map_or_else(|| Ok(py.None().into_bound(py)), |it| zone(py, it))?;
    let api = api(py)?;
    // SAFETY: as above.
    unsafe {
        let made = (api.Time_FromTimeAndFold)(
            c_int::from(time.hour),
            c_int::from(time.minute),
            c_int::from(time.second),
            time.microsecond as c_int,
            tzinfo.as_ptr(),
            c_int::from(time.fold),
            api.TimeType,
        );
        Bound::from_owned_ptr_or_err(py, made)
    }
}

/// A `datetime.datetime`.
///
/// # Errors
/// As for `zone`.
pub fn datetime<'py>(py: Python<'py>, date: Date, time: Time<'_>) -> PyResult<Bound<'py, PyAny>> {
    let tzinfo = time.zone.map_or_else(|| Ok(py.None().into_bound(py)), |it| zone(py, it))?;
    let api = api(py)?;
    // SAFETY: as above.
    unsafe {
        let made = (api.DateTime_FromDateAndTimeAndFold)(
            c_int::from(date.year),
            c_int::from(date.month),
            c_int::from(date.day),
            c_int::from(time.hour),
            c_int::from(time.minute),
            c_int::from(time.second),
            time.microsecond as c_int,
            tzinfo.as_ptr(),
            c_int::from(time.fold),
            api.DateTimeType,
        );
        Bound::from_owned_ptr_or_err(py, made)
    }
}

/// A `datetime.timedelta`.
///
/// # Errors
/// As for `date`.
pub fn timedelta<'py>(py: Python<'py>, it: Timedelta) -> PyResult<Bound<'py, PyAny>> {
    let api = api(py)?;
    let (seconds, microseconds) = (it.seconds as c_int, it.microseconds as c_int);
    // SAFETY: as above.
    unsafe {
        let made = (api.Delta_FromDelta)(it.days, seconds, microseconds, 1, api.DeltaType);
        Bound::from_owned_ptr_or_err(py, made)
    }
}

/// A `datetime.timezone` or `zoneinfo.ZoneInfo`.
///
/// # Errors
/// This machine's database does not have the key.
pub fn zone<'py>(py: Python<'py>, zone: Zone<'_>) -> PyResult<Bound<'py, PyAny>> {
    match zone {
        // SAFETY: attached; a borrowed object that lives for ever.
        Zone::Utc => unsafe { Ok(Bound::from_borrowed_ptr(py, api(py)?.TimeZone_UTC)) },
        Zone::Fixed(offset) => {
            let (days, rest) = (offset.microseconds.div_euclid(DAY), offset.microseconds.rem_euclid(DAY));
            let duration = Timedelta {
                days: days as i32,
                seconds: (rest / 1_000_000) as u32,
                microseconds: (rest % 1_000_000) as u32,
            };
            let duration = timedelta(py, duration)?;
            let name = offset.name.map(|name| text::with_surrogates(py, name)).transpose()?;
            let name = name.as_ref().map_or(std::ptr::null_mut(), Bound::as_ptr);
            // SAFETY: attached, with valid objects or null; the result is a new reference or null.
            unsafe {
                Bound::from_owned_ptr_or_err(py, (api(py)?.TimeZone_FromTimeZone)(duration.as_ptr(), name))
            }
        }
        Zone::Key(key) => outcall::call(Class::ZoneInfo.get(py)?, (key,), None),
    }
}
