/* clock.c - see clock.h. DESIGN: own formatting and parsing, because strftime and strptime depend on the locale. */
#include "base/clock.h"

#include <string.h>
#include <time.h>

int64_t clock_now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t clock_monotonic_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* UTC fields and the milliseconds of the second. */
static struct tm split(int64_t ms, int *milli)
{
	int64_t sec = ms / 1000;
	*milli = (int)(ms % 1000);
	if (*milli < 0) {
		*milli += 1000;
		sec--;
	}
	time_t t = (time_t)sec;
	struct tm tm;
	gmtime_r(&t, &tm);
	return tm;
}

/* The last n decimal digits of v. No printf: a date is written several times a request. */
static char *put(char *p, int v, int n)
{
	unsigned rest = (unsigned)v;
	for (int i = n; i-- > 0; rest /= 10)
		p[i] = (char)('0' + rest % 10);
	return p + n;
}

static char *put_char(char *p, char c)
{
	*p = c;
	return p + 1;
}

/* `dash` and `colon` separate; 0 for none. */
static char *put_date(char *p, const struct tm *tm, char dash)
{
	p = put(p, tm->tm_year + 1900, 4);
	p = dash ? put_char(p, dash) : p;
	p = put(p, tm->tm_mon + 1, 2);
	p = dash ? put_char(p, dash) : p;
	return put_char(put(p, tm->tm_mday, 2), 'T');
}

static char *put_time(char *p, const struct tm *tm, char colon)
{
	p = put(p, tm->tm_hour, 2);
	p = colon ? put_char(p, colon) : p;
	p = put(p, tm->tm_min, 2);
	p = colon ? put_char(p, colon) : p;
	return put(p, tm->tm_sec, 2);
}

char *clock_iso(int64_t ms, char *buf)
{
	int milli;
	struct tm tm = split(ms, &milli);
	*put_char(put_time(put_date(buf, &tm, '-'), &tm, ':'), 'Z') = 0;
	return buf;
}

char *clock_iso_ms(int64_t ms, char *buf)
{
	int milli;
	struct tm tm = split(ms, &milli);
	char *p = put_time(put_date(buf, &tm, '-'), &tm, ':');
	*put_char(put(put_char(p, '.'), milli, 3), 'Z') = 0;
	return buf;
}

char *clock_basic(int64_t ms, char *buf)
{
	int milli;
	struct tm tm = split(ms, &milli);
	*put_char(put_time(put_date(buf, &tm, 0), &tm, 0), 'Z') = 0;
	return buf;
}

static const char days[] = "SunMonTueWedThuFriSat";
static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

char *clock_http(int64_t ms, char *buf)
{
	int milli;
	struct tm tm = split(ms, &milli);
	char *p = mempcpy(buf, days + 3 * tm.tm_wday, 3);
	p = put_char(put(mempcpy(p, ", ", 2), tm.tm_mday, 2), ' ');
	p = put_char(mempcpy(p, months + 3 * tm.tm_mon, 3), ' ');
	p = put_char(put(p, tm.tm_year + 1900, 4), ' ');
	memcpy(put_time(p, &tm, ':'), " GMT", 5);
	return buf;
}

/* Takes exactly n digits from *s. */
static bool number(struct str *s, size_t n, int *out)
{
	int64_t v;
	if (s->len < n || s->ptr[0] == '-' || !str_to_i64(str_head(*s, n), &v))
		return false;
	*out = (int)v;
	*s = str_skip(*s, n);
	return true;
}

static bool take(struct str *s, char c)
{
	if (s->len == 0 || s->ptr[0] != c)
		return false;
	*s = str_skip(*s, 1);
	return true;
}

/* Milliseconds since the epoch of UTC fields; false when a field is out of range (31 February included). */
static bool to_ms(int year, int month, int day, int hour, int min, int sec, int64_t *ms)
{
	static const int length[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	if (month < 1 || month > 12)
		return false;
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	int last = length[month - 1] + (month == 2 && leap);
	if (day < 1 || day > last || hour > 23 || min > 59 || sec > 60)
		return false;
	struct tm tm = { .tm_year = year - 1900,
			 .tm_mon = month - 1,
			 .tm_mday = day,
			 .tm_hour = hour,
			 .tm_min = min,
			 .tm_sec = sec };
	*ms = (int64_t)timegm(&tm) * 1000;
	return true;
}

static int fraction_ms(struct str *s)
{
	int ms = 0, scale = 100;
	while (s->len > 0 && s->ptr[0] >= '0' && s->ptr[0] <= '9') {
		ms += (s->ptr[0] - '0') * scale;
		scale /= 10;
		*s = str_skip(*s, 1);
	}
	return ms;
}

/* "Z", "+hh:mm", "+hhmm", "-hh"; minutes east. */
static bool zone(struct str s, int *minutes)
{
	int h, m = 0;
	if (s.len == 1 && (s.ptr[0] == 'Z' || s.ptr[0] == 'z')) {
		*minutes = 0;
		return true;
	}
	if (s.len < 3 || (s.ptr[0] != '+' && s.ptr[0] != '-'))
		return false;
	int sign = s.ptr[0] == '-' ? -1 : 1;
	s = str_skip(s, 1);
	if (!number(&s, 2, &h))
		return false;
	take(&s, ':');
	if (s.len > 0 && !number(&s, 2, &m))
		return false;
	if (s.len > 0 || h > 23 || m > 59)
		return false;
	*minutes = sign * (h * 60 + m);
	return true;
}

bool clock_parse_iso(struct str s, int64_t *ms)
{
	int year, month, day, hour, min, sec, offset, milli = 0;
	int64_t base;
	if (!number(&s, 4, &year))
		return false;
	bool extended = take(&s, '-');
	if (!number(&s, 2, &month) || (extended && !take(&s, '-')) || !number(&s, 2, &day))
		return false;
	if (!take(&s, 'T') && !take(&s, 't'))
		return false;
	if (!number(&s, 2, &hour) || (extended && !take(&s, ':')) || !number(&s, 2, &min) ||
	    (extended && !take(&s, ':')) || !number(&s, 2, &sec))
		return false;
	if (take(&s, '.')) {
		if (s.len == 0 || s.ptr[0] < '0' || s.ptr[0] > '9')
			return false;
		milli = fraction_ms(&s);
	}
	if (!zone(s, &offset) || !to_ms(year, month, day, hour, min, sec, &base))
		return false;
	*ms = base + milli - (int64_t)offset * 60000;
	return true;
}

bool clock_parse_http(struct str s, int64_t *ms)
{
	int day, year, hour, min, sec, month = 0;
	ptrdiff_t comma = str_find_char(s, ',');
	if (comma < 0)
		return false;
	s = str_trim(str_skip(s, (size_t)comma + 1));
	if (!number(&s, 2, &day) || !take(&s, ' ') || s.len < 3)
		return false;
	for (int i = 0; i < 12; i++)
		if (memcmp(s.ptr, months + 3 * i, 3) == 0)
			month = i + 1;
	s = str_skip(s, 3);
	return take(&s, ' ') && number(&s, 4, &year) && take(&s, ' ') && number(&s, 2, &hour) && take(&s, ':') &&
	       number(&s, 2, &min) && take(&s, ':') && number(&s, 2, &sec) && str_eq(s, STR(" GMT")) &&
	       to_ms(year, month, day, hour, min, sec, ms);
}
