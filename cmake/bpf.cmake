# BPF objects: compiled once with Debian's clang, embedded in the programs that load them.
find_program(BPF_CLANG clang-19 REQUIRED)
find_program(BPF_STRIP llvm-strip-19 REQUIRED)

file(GLOB_RECURSE AXO_BPF_HEADERS CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bpf/*.h)
file(GLOB AXO_BPF_SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bpf/hooks/*.bpf.c)
set(AXO_BPF_OBJECTS)
foreach(source IN LISTS AXO_BPF_SOURCES)
  get_filename_component(name ${source} NAME_WLE)
  set(object ${CMAKE_BINARY_DIR}/bpf/${name}.o)
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/bpf
    COMMAND ${BPF_CLANG} -target bpf -mcpu=v3 -std=gnu11 -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter
            -Wno-address-of-packed-member -fdebug-prefix-map=${CMAKE_SOURCE_DIR}=. -I${CMAKE_SOURCE_DIR}
            -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE} -c ${source} -o ${object}
    COMMAND ${BPF_STRIP} -g ${object}
    DEPENDS ${source} ${AXO_BPF_HEADERS}
    COMMENT "BPF ${name}"
    VERBATIM)
  list(APPEND AXO_BPF_OBJECTS ${object})
endforeach()
add_custom_target(bpf_objects DEPENDS ${AXO_BPF_OBJECTS})

# axo_bpf_blobs: the objects as symbols axo_bpf_<hook>_begin / _end (kernel/bpf_blobs.h).
set(blob_asm ${CMAKE_BINARY_DIR}/bpf/blobs.S)
set(blob_text ".section .rodata\n")
foreach(object IN LISTS AXO_BPF_OBJECTS)
  get_filename_component(name ${object} NAME)
  string(REPLACE ".bpf.o" "" name ${name})
  string(APPEND blob_text
    ".balign 16\n.global axo_bpf_${name}_begin\naxo_bpf_${name}_begin:\n.incbin \"${object}\"\n.global axo_bpf_${name}_end\naxo_bpf_${name}_end:\n")
endforeach()
string(APPEND blob_text ".section .note.GNU-stack,\"\",@progbits\n")
file(CONFIGURE OUTPUT ${blob_asm} CONTENT "${blob_text}" @ONLY)
set_source_files_properties(${blob_asm} PROPERTIES OBJECT_DEPENDS "${AXO_BPF_OBJECTS}")
add_library(axo_bpf_blobs STATIC ${blob_asm})
add_dependencies(axo_bpf_blobs bpf_objects)
