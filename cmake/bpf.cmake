# perdure_bpf_skeleton(<target> <source.bpf.c>): compiles a BPF program and makes its skeleton header <name>.skel.h, for targets that link
# to <target>. Needs no kernel headers and no vmlinux.h: the program declares what it reads, and is fitted to the kernel when it is loaded.
find_program(BPF_CLANG NAMES clang-19 clang-16 clang-15 clang-14 clang REQUIRED)
find_program(BPFTOOL NAMES bpftool PATHS /usr/sbin REQUIRED)

function(perdure_bpf_skeleton target source)
  get_filename_component(name ${source} NAME_WE)
  set(compiled ${CMAKE_CURRENT_BINARY_DIR}/${name}.compiled.bpf.o)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.bpf.o)
  set(header ${CMAKE_CURRENT_BINARY_DIR}/skeletons/posix/${name}.skel.h)
  file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/skeletons/posix)
  add_custom_command(
    OUTPUT ${compiled}
    COMMAND ${BPF_CLANG} -O2 -g -target bpf -mcpu=v3 -ffreestanding -Wall -Wextra -Werror
            -I${CMAKE_SOURCE_DIR}/src -I/usr/include/${CMAKE_LIBRARY_ARCHITECTURE}
            -MD -MF ${compiled}.d -MT ${compiled} -c ${CMAKE_CURRENT_SOURCE_DIR}/${source} -o ${compiled}
    DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${source} DEPFILE ${compiled}.d)
  # Leaves the debugging information behind, but for BTF: half of the file.
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${BPFTOOL} gen object ${object} ${compiled}
    DEPENDS ${compiled})
  add_custom_command(
    OUTPUT ${header}
    COMMAND ${BPFTOOL} gen skeleton ${object} name ${name} > ${header}
    DEPENDS ${object})
  add_custom_target(${target}_header DEPENDS ${header})
  add_library(${target} INTERFACE)
  add_dependencies(${target} ${target}_header)
  target_include_directories(${target} SYSTEM INTERFACE ${CMAKE_CURRENT_BINARY_DIR}/skeletons)
endfunction()
