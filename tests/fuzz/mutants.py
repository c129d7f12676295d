#!/usr/bin/env python3
"""The canaries of the fuzz targets: copies of a decoder with one check removed, which the target has to find.

    mutants.py list TARGET                prints the names
    mutants.py write TARGET NAME IN OUT   writes the copy

If the text that a mutant replaces is not there exactly once, writing fails: whoever changes a decoder changes its
canaries with it.
"""
import pathlib
import sys

# name: (old text, new text)
MUTANTS = {
    'wire': {
        'numbers_beyond_the_end': ('if (source->left < width) return false;', ''),
        'lengths_are_believed': (' || length > source->left) return false;', ') return false;'),
        'a_nul_in_an_error': ("if (copy[i] == '\\0') return false;", ''),
        'a_nul_in_a_text': ("if (memchr(rn_as_bytes(copy), '\\0', span.length))", 'if (false)'),
        'any_task_name': (' && parts->task.length <= RN_NAME_MAX', ''),
        'the_code_0': ('parts->code != 0 && ', ''),
        'any_depth': ('*length == RNI_WIRE_DEPTH || ', ''),
        'garbage_behind_a_cause': ('if (*length > 0 && source->left > 0) return false;', ''),
        'garbage_behind_no_cause': ('kind == RN_NONE && inner.left == 0', 'kind == RN_NONE'),
        'any_cause': ('kind == RN_NONE && inner.left == 0', 'inner.left == 0'),
        'any_bool': (' || number > 1', ''),
        'buffers_that_did_not_come': ('number >= buffers->count || ', ''),
        'buffers_in_any_order': (' || number != buffers->taken', ''),
        'buffers_of_any_size': ('!rni_is_error(next) && rn_length(next) != size', 'false'),
        'a_leak_of_what_is_refused': ('            rn_drop(copy);\n', ''),
    },
    'capsule': {
        'any_escape': ('byte > 0 && must_be_escaped((unsigned char)byte)', 'byte > 0'),
        'an_escaped_nul': ('byte > 0 && must', 'byte >= 0 && must'),
        'bytes_that_are_not_escaped': (" || (*at != '\\\\' && must_be_escaped(*at))", ''),
        'names_beyond_the_end': ('left >= length + 2 && ', ''),
        'numbers_that_begin_with_0': (" || (text[0] == '0' && text[1])", ''),
        'numbers_that_are_too_large': ('__builtin_mul_overflow(sum, 10u, &sum)', '((sum *= 10u), false)'),
        'offsets_that_are_too_long': (' || length > 16', ''),
        'ids_of_any_length': (' || length > 2 * RNI_ELF_ID_MAX', ''),
        'texts_of_any_length': ('return strlen(text) <= field->most;', 'return true;'),
        'numbers_of_any_size': (' && *(uint64_t *)place <= field->most', ''),
        'iterations_beyond_times': (' || capsule->iteration > capsule->times', ''),
        'buffers_without_a_length': ('if (length < 1 + LENGTH_BYTES) return false;', ''),
        'buffers_beyond_the_end': (' || size > length - 1 - LENGTH_BYTES', ''),
        'any_argument': (' || rni_is_error(capsule->arg))', ')'),
        'garbage_behind_the_values': ('if (used + more != length) return', 'if (false) return'),
        'any_length_of_values': (' || length != rest', ''),
        'a_leak_of_what_is_refused': ('if (rni_is_error(error)) rni_capsule_free(capsule);', ''),
    },
    'elf': {
        'bytes_beyond_the_end': (' || length > file->size - offset', ''),
        'offsets_beyond_the_end': ('offset > file->size || length', 'length'),
        'names_of_notes': ('if (note->n_namesz > left || aligned(note->n_namesz) > left) return false;', ''),
        'ids_beyond_their_notes': ('if (note->n_descsz > left) return false;', ''),
        'ids_of_any_length': ('note.n_descsz < RNI_ELF_ID_MAX ? note.n_descsz : RNI_ELF_ID_MAX', 'note.n_descsz'),
        'any_number_of_tables': (' && count < TABLES_MAX', ''),
        'pieces_of_any_size': ('count - i < PIECE ? (size_t)(count - i) : PIECE', '(size_t)(count - i)'),
        'names_that_are_not_printable': ("if (*c < ' ' || *c > '~') *c = '?';", ''),
        'names_of_any_length': ('left < size - 1 ? (size_t)left : size - 1', '(size_t)left'),
        'symbols_behind_the_address': ('symbol->st_value <= address && ', ''),
        'notes_of_any_size': ('segment.p_filesz < NOTES_MAX ? (size_t)segment.p_filesz : NOTES_MAX',
                              '(size_t)segment.p_filesz'),
    },
}


def write(target, name, source, copy):
    old, new = MUTANTS[target][name]
    text = pathlib.Path(source).read_text()
    if text.count(old) != 1:
        sys.exit(f'{target}/{name}: the text is there {text.count(old)} times: {old}')
    pathlib.Path(copy).write_text(text.replace(old, new))


if sys.argv[1] == 'list':
    print('\n'.join(MUTANTS[sys.argv[2]]))
else:
    write(*sys.argv[2:])
