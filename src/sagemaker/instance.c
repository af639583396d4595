/* instance.c - looking an instance type up. The table is in instance_table.c. */
#include "sagemaker/instance.h"

const struct instance_shape *instance_find(struct str name)
{
	size_t lo = 0, hi = instance_count;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int order = str_cmp(name, str_from(instance_table[mid].name));
		if (order == 0)
			return &instance_table[mid];
		if (order < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}
