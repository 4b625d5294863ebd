# The shared library exports bb_* and nothing else, the static one has no other global names than bb_* and bbi_*, and
# neither needs more than libc, libm, pthreads and dlopen.
#   cmake -DNM=nm -DSHARED=libbenben.so -DSTATIC=libbenben.a -P symbols.cmake
function(names result)
    execute_process(COMMAND "${NM}" ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE errors)
    if(NOT status EQUAL 0)
        message(FATAL_ERROR "${NM} ${ARGN}: ${errors}")
    endif()
    string(REPLACE ";" "" output "${output}")
    string(REGEX REPLACE "[^\n]*:\n" "" output "${output}")    # members of the archive
    string(REGEX REPLACE "[^\n]* ([^ \n]+)\n" "\\1;" output "${output}")
    string(REGEX REPLACE "[\n]" "" output "${output}")
    list(FILTER output EXCLUDE REGEX "^$")
    list(REMOVE_DUPLICATES output)
    set(${result} "${output}" PARENT_SCOPE)
endfunction()

names(exported -D --defined-only --extern-only "${SHARED}")
list(LENGTH exported count)
set(foreign ${exported})
list(FILTER foreign EXCLUDE REGEX "^bb_[a-z_]+(@@BENBEN_0)?$")
list(FILTER foreign EXCLUDE REGEX "^BENBEN_0(@@BENBEN_0)?$")
if(count LESS 40 OR foreign)
    message(FATAL_ERROR "${SHARED} exports ${count} names, among them: ${foreign}")
endif()

names(global --defined-only --extern-only "${STATIC}")
list(LENGTH global count)
set(foreign ${global})
list(FILTER foreign EXCLUDE REGEX "^bbi?_[A-Za-z0-9_]+$")
if(count LESS 40 OR foreign)
    message(FATAL_ERROR "${STATIC} has ${count} global names, among them: ${foreign}")
endif()

names(needed -D --undefined-only "${SHARED}")
set(foreign ${needed})
list(FILTER foreign EXCLUDE REGEX "@GLIBC_")
list(FILTER foreign EXCLUDE REGEX "^(__gmon_start__|_ITM_[A-Za-z]+TMCloneTable|__cxa_finalize|bb_[a-z_]+)$")
if(foreign AND needed MATCHES "@GLIBC_") # other C libraries have no versions to go by
    message(FATAL_ERROR "${SHARED} needs ${foreign}")
endif()
message(STATUS "symbols are the library's own")
