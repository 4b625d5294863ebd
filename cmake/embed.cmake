# Writes a C file that holds a text file as an array of characters, closed by a zero:
#   cmake -DINPUT=cpu.h -DNAME=bbi_prelude_cpu -DOUTPUT=prelude_cpu.c -P embed.cmake
file(READ "${INPUT}" bytes HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)" "\\1\n"
       bytes "${bytes}")
get_filename_component(source "${INPUT}" NAME)
file(WRITE "${OUTPUT}" "/* ${source}, embedded by cmake/embed.cmake */
extern const char ${NAME}[];
const char ${NAME}[] = {
${bytes}0};
")
