/* termination.h - what happens on SIGTERM.
 *
 * DESIGN: the signal only sets a flag; the training loop looks at it after each round, keeps the model and ends with
 * success, as a stopped job with save_model_on_termination=true does. When a round takes too long for that, the process
 * ends anyway, with the model of an earlier round in place. Without the option the process ends at once with 143: as
 * the first process of a container it would otherwise not notice the signal at all. */
#ifndef QUERN_IMAGE_TERMINATION_H
#define QUERN_IMAGE_TERMINATION_H

#include <stdbool.h>

/* Ends the process on SIGTERM. */
void termination_end_at_once(void);
/* From now on SIGTERM sets the flag. */
void termination_wait_for_round(void);
bool termination_requested(void);

#endif
