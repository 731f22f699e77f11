#ifndef ALLOCATION_COUNTER_H
#define ALLOCATION_COUNTER_H

#include <stdbool.h>

/// Counts heap allocations of chosen threads, for tests.
///
/// The test executable defines malloc and its kin; definitions of an executable come before those of the C library
/// for every library of the process, Swift's runtime included. Each definition counts and hands on to glibc.
/// Elsewhere, and under the address sanitizer, which does the same for its own ends, nothing is counted.

/// Whether allocations are counted in this build.
bool allocation_counter_works(void);

/// From now on, allocations of the calling thread are added to counter 0..<1024 (-1: to none).
void allocation_counter_attach(int counter);

/// Allocations added to a counter so far, by all threads attached to it.
long allocation_counter_value(int counter);

#endif
