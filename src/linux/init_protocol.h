/* What the supervisor and a group's init say to each other. Shared by C (init.c) and C++ (group_init.cc). */
#pragma once

#include <stdint.h>

/* Descriptors that init finds open when it starts. */
enum {
  PERDURE_INIT_SOCKET = 3,     /* SOCK_SEQPACKET to the supervisor */
  PERDURE_INIT_SUPERVISOR = 4, /* pidfd of the supervisor */
  PERDURE_INIT_TRANSPORT = 5,  /* SOCK_SEQPACKET from which restored tasks take their descriptors */
  PERDURE_INIT_TERMINAL = 6,   /* master of the group's pseudo terminal, held open; may be closed */
  PERDURE_INIT_TERMINALS = 7,  /* the group's devpts, to be mounted on /dev/pts; may be closed */
};

/* argv[1] of init: what becomes of the group when the supervisor dies. */
#define PERDURE_INIT_KILL "kill"
#define PERDURE_INIT_CONTINUE "continue"
/* argv[2] of init: the group's name, for others to see. */

/* The name of init's program, as /proc/PID/exe shows it. */
#define PERDURE_INIT_IMAGE "perdure-init"

/* Supervisor -> shepherd: start the program. Comes with these descriptors: plan (a memfd), working directory, stdin, stdout, stderr.
 * The plan's bytes: struct perdure_start_plan, then group_count gid_t, then argument_count strings, then environment_count strings. */
struct perdure_start_plan {
  uint32_t argument_count;
  uint32_t environment_count;
  uint32_t change_user; /* 1: take uid, gid and the groups */
  uint32_t uid;
  uint32_t gid;
  uint32_t group_count;
  uint32_t take_terminal; /* 1: standard input becomes the controlling terminal */
  uint64_t signal_mask;
};

/* Shepherd -> supervisor. */
enum { PERDURE_INIT_READY = 1, PERDURE_INIT_STARTED = 2, PERDURE_INIT_CHILD = 3 };
struct perdure_init_message {
  uint32_t kind;
  int32_t pid;    /* in the group's PID namespace */
  int32_t status; /* wait(2) status of a child that ended, stopped or continued; errno of a failed start */
};
