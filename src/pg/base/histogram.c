/*
 * histogram.c
 *		Histograms of durations: see histogram.h.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"

#include "pg/base/histogram.h"

/* 100 us to 100 s */
static const double bounds[CHATCRYPT_HISTOGRAM_BOUNDS] = {
	0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
	0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100
};

int
chatcrypt_histogram_bucket(int64 us)
{
	int			bucket = 0;

	while (bucket < CHATCRYPT_HISTOGRAM_BOUNDS && us > bounds[bucket] * 1000000)
		bucket++;
	return bucket;
}

void
chatcrypt_histogram_add(ChatcryptHistogram *histogram, int64 us)
{
	histogram->counts[chatcrypt_histogram_bucket(us)]++;
	histogram->us += us;
}

Datum
chatcrypt_histogram_bounds(void)
{
	Datum		elements[CHATCRYPT_HISTOGRAM_BOUNDS];

	for (int i = 0; i < CHATCRYPT_HISTOGRAM_BOUNDS; i++)
		elements[i] = Float8GetDatum(bounds[i]);
	return PointerGetDatum(construct_array(elements, CHATCRYPT_HISTOGRAM_BOUNDS, FLOAT8OID,
										   sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

Datum
chatcrypt_histogram_counts(const ChatcryptHistogram *histogram)
{
	Datum		elements[CHATCRYPT_HISTOGRAM_BOUNDS];
	uint64		sum = 0;

	for (int i = 0; i < CHATCRYPT_HISTOGRAM_BOUNDS; i++)
		elements[i] = Int64GetDatum((int64) (sum += histogram->counts[i]));
	return PointerGetDatum(construct_array(elements, CHATCRYPT_HISTOGRAM_BOUNDS, INT8OID,
										   sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

uint64
chatcrypt_histogram_total(const ChatcryptHistogram *histogram)
{
	uint64		sum = 0;

	for (int i = 0; i <= CHATCRYPT_HISTOGRAM_BOUNDS; i++)
		sum += histogram->counts[i];
	return sum;
}
