"""A filter for Doxygen: the plain comments of benben.h become documentation, its sections groups.

A comment in front of a declaration documents it, one behind a field or an enumerator documents that.
"""
import re
import sys

text = open(sys.argv[1]).read()
text = re.sub(r"/\* benben\.h:.*?\*/\n", "", text, count=1, flags=re.S)
text = text.replace("BB_API ", "")
text = re.sub(r"#if defined\(BB_STATIC\).*?#endif\n\n#ifdef __cplusplus.*?#endif\n", "", text, flags=re.S)
text = re.sub(r"#ifdef __cplusplus\n}\n#endif\n", "", text)
opened = False


def section(match: re.Match) -> str:
    global opened
    title = match[1].strip()
    name = re.sub(r"\W+", "_", title.split(":")[0].split(",")[0]).strip("_")
    end, opened = ("/** @} */\n" if opened else ""), True
    return f"{end}/** @defgroup {name} {title}\n * @{{ */"


# a comment alone on its lines in front of a declaration; one behind code
text = re.sub(r"^/\* -{3,} (.*?) -{3,} \*/", section, text, flags=re.M)
text = re.sub(r"^/\*(?!\*)", "/**", text, flags=re.M)
text = re.sub(r"^(.*[;,{0-9A-Za-z_].*?[ \t])/\*(?![*<])(?! -)", r"\1/**<", text, flags=re.M)
text = re.sub(r"^\s+/\*\*< ----.*?\*/", "", text, flags=re.M)
# what stands behind the opening of a type or in front of a list of arguments belongs to the whole
text = re.sub(r"^(typedef (?:enum|struct) \w+ \{) */\*\*< (.*?)\*/", r"/** \2*/\n\1", text, flags=re.M)
print(text + ("/** @} */\n" if opened else ""))
