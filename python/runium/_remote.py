"""What crosses between a program and its worker processes: the part that is not on every run's way, hence in Python.

The C code (payload.c, remote.c, worker.c) calls this for what its own small way cannot do.
"""
import importlib
import io
import os
import pickle
import sys
import traceback
import types

from . import errors

_LARGE = 64 * 1024
_TEXT_MOST = 64 * 1024  # characters of a traceback
_MAIN = ('__main__', '__mp_main__')


def _find_cloudpickle():
    try:
        return importlib.import_module('cloudpickle')
    except MemoryError:
        raise
    except Exception:
        return None


# ---- pickling: in the program for arguments, in a worker for results ----

def _pickler(base, large, threshold):
    """A pickler that sets large bytes aside: base's, or a class that does so."""
    if large is None:
        return base

    def persistent_id(pickler, value):
        kind = type(value)
        if (kind is bytes or kind is bytearray) and len(value) >= threshold:
            for number, known in enumerate(large):
                if known is value:
                    return number
            large.append(value)
            return len(large) - 1
        return None

    return type('Pickler', (base,), {'persistent_id': persistent_id})


def _pickle_with(base, value, callback=None, large=None, threshold=_LARGE):
    file = io.BytesIO()
    _pickler(base, large, threshold)(file, protocol=5, buffer_callback=callback).dump(value)
    return file.getvalue()


def _names_main(data):
    return any(name.encode() in data for name in _MAIN)


def _cloudpickle_or_none(value, callback, large, threshold):
    """The pickle as cloudpickle makes it; or None, and the exception that kept it from doing so."""
    cloudpickle = _find_cloudpickle()
    if not cloudpickle:
        return None, None
    try:
        return _pickle_with(cloudpickle.Pickler, value, callback, large, threshold), None
    except (MemoryError, KeyboardInterrupt):
        raise
    except BaseException as exception:
        return None, exception


def _begin_again(callback, large):
    """What a pickler that failed has set aside is of no use."""
    if callback is not None:
        callback.__self__.clear()
    if large is not None:
        large.clear()


def dump(value, what, callback=None, large=None, threshold=_LARGE):
    """Pickles what the C code's way could not: by the standard pickler, or by cloudpickle what only that can, and what is
    of __main__. Raises NotPicklable, which names the culprit."""
    failure = data = None
    try:
        data = _pickle_with(pickle.Pickler, value, callback, large, threshold)
    except (MemoryError, KeyboardInterrupt):
        raise
    except BaseException as exception:
        failure = exception
    if data is not None and not _names_main(data):
        return data
    standard = (list(callback.__self__) if callback else [], list(large or ()))
    _begin_again(callback, large)
    clouded, cloud_failure = _cloudpickle_or_none(value, callback, large, threshold)
    if clouded is None and data is None:
        raise _not_picklable(value, what, cloud_failure or failure) from failure
    name = what in ('arguments', 'recipe') and not _main_of() and _name_of_main(clouded or data)
    if name:
        raise _not_importable(value, what, name, cloud_failure) from cloud_failure
    if clouded is not None:
        return clouded
    _begin_again(callback, large)
    if callback is not None:
        callback.__self__.extend(standard[0])
    if large is not None:
        large.extend(standard[1])
    return _pickle_with(pickle.Pickler, _ByName(value, cloud_failure)) if what == 'recipe' and cloud_failure else data


class _Reason:
    def __init__(self, names, text):
        self.names, self.text = names, text

    def __reduce__(self):
        return _remember_reason, (self.names, self.text)


class _ByName:
    """A recipe that goes by name, since cloudpickle cannot take it along: the worker is told why before it looks for it."""

    def __init__(self, functions, failure):
        names = tuple(getattr(function, '__qualname__', '') for function in functions)
        path, reason = _find_culprit(functions, 'recipe', failure, by_name=False)
        self.reason, self.functions = _Reason(names, f'{path}: {reason}'), functions

    def __reduce__(self):
        return _second, (self.reason, self.functions)


def _second(first, second):
    return second


_reasons = {}  # in a worker: why a function went by name


def _remember_reason(names, text):
    _reasons.update(dict.fromkeys(names, text))


def _why_by_name(name):
    return f'; it went by name because it cannot go as it is: {_reasons[name]}' if name in _reasons else ''


def _is_by_reference(function):
    """Whether its pickle is its name, in a module that a worker can import."""
    if function is None:
        return True
    if type(function) not in (types.FunctionType, types.BuiltinFunctionType):
        return False
    module = function.__module__
    if not isinstance(module, str) or module in _MAIN or '<' in function.__qualname__:
        return False
    found = sys.modules.get(module)
    for name in function.__qualname__.split('.'):
        found = getattr(found, name, None)
    return found is function


_PARTS = ('function', 'on_iter', 'on_success', 'on_error', 'on_finished')


def pack_recipe(functions):
    """Function and hooks as bytes, and whether those are but their names."""
    by_reference = all(_is_by_reference(function) for function in functions)
    return dump(functions, 'recipe'), by_reference


# ---- who cannot be pickled ----

def _can(value, by_name=True):
    """Whether it can be pickled; without by_name what is of __main__ has to go as it is."""
    try:
        data = pickle.dumps(value, protocol=5, buffer_callback=lambda buffer: None)
        if by_name or not _names_main(data):
            return True
    except (MemoryError, KeyboardInterrupt):
        raise
    except BaseException:
        pass
    cloudpickle = _find_cloudpickle()
    if not cloudpickle:
        return False
    try:
        cloudpickle.dumps(value, protocol=5)
        return True
    except (MemoryError, KeyboardInterrupt):
        raise
    except BaseException:
        return False


def _parts_of_function(function):
    names = function.__code__.co_freevars
    for name, cell in zip(names, function.__closure__ or ()):
        try:
            yield f' (closure {name!r})', cell.cell_contents
        except ValueError:
            pass
    for index, default in enumerate(function.__defaults__ or ()):
        yield f'.__defaults__[{index}]', default
    for name in function.__code__.co_names:
        if name in function.__globals__ and not isinstance(function.__globals__[name], types.ModuleType):
            yield f' (global {name!r})', function.__globals__[name]


def _parts_of(value):
    """What a value consists of, as (path, part)."""
    if isinstance(value, dict):
        for key, part in list(value.items())[:1000]:
            yield f'[{key!r}]', part
            yield f' (key {key!r})', key
    elif isinstance(value, (list, tuple, set, frozenset)):
        for index, part in enumerate(list(value)[:1000]):
            yield f'[{index}]', part
    elif isinstance(value, types.FunctionType):
        yield from _parts_of_function(value)
    elif isinstance(value, types.MethodType):
        yield '.__self__', value.__self__
    elif isinstance(value, BaseException):
        for index, part in enumerate(value.args):
            yield f'.args[{index}]', part
    if not isinstance(value, (type, types.ModuleType, types.FunctionType)):
        for name, part in list(getattr(value, '__dict__', {}).items()):
            yield f'.{name}', part
        for name in _slots_of(value):
            if hasattr(value, name):
                yield f'.{name}', getattr(value, name)


def _slots_of(value):
    for kind in type(value).__mro__:
        slots = kind.__dict__.get('__slots__', ())
        yield from (slots,) if isinstance(slots, str) else slots


def _culprit(value, path, seen, depth=0, by_name=True):
    """The path and the smallest part that cannot be pickled."""
    seen.add(id(value))
    if depth < 20:
        try:
            for name, part in _parts_of(value):
                if id(part) not in seen and not _can(part, by_name):
                    return _culprit(part, path + name, seen, depth + 1, by_name)
        except (MemoryError, KeyboardInterrupt):
            raise
        except BaseException:
            pass
    return path, value


def _roots(value, what):
    """The parts of what was given, by the names that its caller knows."""
    if what == 'arguments':
        args, kwargs = value
        for index, part in enumerate(args or ()):
            yield f'args[{index}]', part
        for name, part in (kwargs or {}).items():
            yield f'kwargs[{name!r}]', part
    elif what == 'recipe':
        yield from zip(_PARTS, value)
    else:
        yield what, value


def _reason(value, failure):
    """Why the smallest part cannot be pickled, in words."""
    try:
        pickle.dumps(value, protocol=5)
    except (MemoryError, KeyboardInterrupt):
        raise
    except BaseException as exception:
        failure = exception
    return _say(failure)


def _say(exception):
    try:
        text = str(exception)
    except BaseException:
        text = '(its text cannot be had)'
    if isinstance(exception, (TypeError, pickle.PicklingError, AttributeError)) and text:
        return text
    return f'{type(exception).__name__}: {text}' if text else type(exception).__name__


def _find_culprit(value, what, failure, by_name=True):
    """The path of the smallest part that cannot be pickled, and why."""
    for path, part in _roots(value, what):
        if not _can(part, by_name):
            path, part = _culprit(part, path, set(), by_name=by_name)
            return path, _reason(part, failure)
    return what, _say(failure)


def _not_picklable(value, what, failure):
    return errors.NotPicklable('{}: {}'.format(*_find_culprit(value, what, failure)))


def _name_of_main(data):
    """A name of __main__ that the pickle asks for; or None."""
    import pickletools
    texts, memo = [], []
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == 'MEMOIZE':
            memo.append(texts[-1])
        elif opcode.name == 'STACK_GLOBAL' and texts[-2] in _MAIN:
            return texts[-1]
        elif opcode.name in ('BINGET', 'LONG_BINGET'):
            texts.append(memo[argument])
        else:
            texts.append(argument)
    return None


_GUARD = "what starts the program belongs below `if __name__ == '__main__':`"


def _not_importable(value, what, name, failure):
    """It would go by name, and no worker process can import what has the name."""
    if _is_importing_main:
        return errors.NotPicklable(f'{name!r} is of the main file, which a worker process is importing just now: {_GUARD}')
    why = f'{name!r} is of __main__, and this program has no main file that a worker process could import'
    if not failure:
        return errors.NotPicklable(f'{why}; put it into a module, or install cloudpickle')
    path, reason = _find_culprit(value, what, failure, by_name=False)
    return errors.NotPicklable(f'{path}: {reason}; and {why} instead')


# ---- unpickling ----

class _Unpickler(pickle.Unpickler):
    """Gives large bytes back, and imports the main file when something of it is asked for."""

    def __init__(self, file, buffers, large):
        super().__init__(file, buffers=buffers)
        self._large = large

    def persistent_load(self, number):
        return self._large[number]

    def find_class(self, module, name):
        if module not in _MAIN:
            return super().find_class(module, name)
        _import_main(name)
        try:
            return super().find_class(module, name)
        except (AttributeError, ModuleNotFoundError) as failure:
            raise _not_in_main(module, name, failure) from failure


def _not_in_main(module, name, failure):
    found = getattr(sys, '_runium_main', None)
    if not found:
        return errors.NotPicklable(f'{name!r} is of {module}, and there is no main file to import here: {_say(failure)}')
    return errors.NotPicklable(f'{name!r} is not there once a worker process has imported the main file ({found[1]}), which it '
                               f"does without what stands below `if __name__ == '__main__':`{_why_by_name(name)}")


def load(data, lent, large):
    return _Unpickler(io.BytesIO(data), lent, large).load()


# ---- exceptions ----

def _text_of(exception):
    try:
        return ''.join(traceback.format_exception(exception))
    except (MemoryError, KeyboardInterrupt):
        raise
    except BaseException:
        return f'{type(exception).__name__} (its traceback cannot be formatted)\n'


def _line_of(exception):
    kind = type(exception).__qualname__
    try:
        text = str(exception)
    except BaseException as failure:
        text = f'(no text: its __str__ raised {type(failure).__name__})'
    return f'{kind}: {text[:1000]}' if text else kind


def _add_note(exception):
    """What a worker has not, having imported the main file: where a function of it asks for that."""
    trace = exception.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    if trace and trace.tb_frame.f_globals.get('__name__') in _MAIN and exception.name not in trace.tb_frame.f_globals:
        exception.add_note(f'A worker process has imported the main file, which makes no {exception.name!r}: what stands below '
                           f"`if __name__ == '__main__':` is left out. Give it to the task as an argument, or make it above.")


def describe(exception, is_printed):
    """An exception in a worker: (a line for people, its pickle). The pickle is of the traceback, of the exception as bytes,
    and of what stands in for it where those cannot be read."""
    if _is_main_imported and type(exception) is NameError:
        _add_note(exception)
    text, line = _text_of(exception)[-_TEXT_MOST:], _line_of(exception)
    if is_printed:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except Exception:
            pass
    try:
        inner = dump(exception, 'exception')
    except errors.NotPicklable as failure:
        inner, line = None, f'{line} (the exception cannot be pickled: {failure})'
    return line, pickle.dumps((text, line, inner), protocol=5)


def revive(data):
    """The exception of describe(), with the remote traceback as its cause."""
    text, line, inner = pickle.loads(data)
    exception = None
    if inner is not None:
        try:
            exception = load(inner, (), ())
        except (MemoryError, KeyboardInterrupt):
            raise
        except BaseException as failure:
            line = f'{line} (the exception cannot be unpickled: {_say(failure)})'
    if not isinstance(exception, BaseException):
        exception = errors.RuniumError(line)
    exception.__cause__ = errors.RemoteTraceback(text)
    return exception


def unreadable(what, failure):
    """What stands for something that cannot be unpickled: raised where it was to be read."""
    exception = errors.NotPicklable(f'{what} cannot be unpickled: {_say(failure)}')
    exception.__cause__ = failure
    return exception


# ---- the interpreter of a worker ----

def _main_of():
    """Where a worker finds what is of __main__: ('name', module), ('path', file), or None."""
    if _is_importing_main:
        return None
    if hasattr(sys, '_runium_main'):  # a worker's workers import what it does
        return sys._runium_main
    main = sys.modules.get('__main__')
    name = getattr(getattr(main, '__spec__', None), 'name', None)
    if name:
        return 'name', name
    path = getattr(main, '__file__', None)
    if not path or os.path.basename(path).startswith('ipython') or not os.path.isfile(path):
        return None
    return 'path', os.path.abspath(path)


def _flag_lines():
    flags = sys.flags
    yield 'isolated', int(flags.isolated)
    yield 'use_environment', int(not flags.ignore_environment)
    yield 'site_import', int(not flags.no_site)
    yield 'user_site_directory', int(not flags.no_user_site)
    yield 'optimization_level', flags.optimize
    yield 'write_bytecode', int(not sys.dont_write_bytecode)
    yield 'bytes_warning', flags.bytes_warning
    yield 'dev_mode', int(flags.dev_mode)
    yield 'utf8_mode', flags.utf8_mode
    yield 'safe_path', int(getattr(flags, 'safe_path', 0))
    yield 'warn_default_encoding', int(getattr(flags, 'warn_default_encoding', 0))


def _text_lines():
    for name, value in (('executable', sys.executable), ('base_executable', getattr(sys, '_base_executable', None)),
                        ('prefix', sys.prefix), ('base_prefix', sys.base_prefix), ('exec_prefix', sys.exec_prefix),
                        ('base_exec_prefix', sys.base_exec_prefix), ('platlibdir', sys.platlibdir),
                        ('pycache_prefix', sys.pycache_prefix)):
        if value:
            yield name, value
    for name, values in (('path', sys.path), ('argv', sys.argv), ('orig_argv', sys.orig_argv),
                         ('warnoption', sys.warnoptions)):
        for value in values:
            if isinstance(value, str):
                yield name, value
    for name, value in sys._xoptions.items():
        yield 'xoption', name if value is True else f'{name}={value}'


def preparation():
    """What an interpreter needs to be like this one: pairs of name and value, each ended by a NUL."""
    main = sys.modules.get('__main__')
    if main is not None:
        sys.modules.setdefault('__mp_main__', main)  # what a worker calls the main file, where it imports that
    lines = [*_flag_lines(), *_text_lines()]
    found = _main_of()
    if found:
        lines.append(('main_' + found[0], found[1]))
    parts = []
    for name, value in lines:
        text = os.fsencode(str(value))
        if b'\0' not in text:
            parts.append(name.encode() + b'\0' + text + b'\0')
    return b''.join(parts)


_is_main_imported = _is_importing_main = False


def _import_main(wanted):
    """In a worker: imports the main file, once, as multiprocessing does where it spawns: not as __main__."""
    global _is_main_imported, _is_importing_main
    found = getattr(sys, '_runium_main', None)  # what _main_of() was in the program; worker.c has set it
    if _is_main_imported or not found:
        return
    from multiprocessing import spawn
    _is_main_imported = _is_importing_main = True
    kind, value = found
    try:
        if kind == 'name':
            spawn._fixup_main_from_name(value)
        else:
            spawn._fixup_main_from_path(value)
    except (MemoryError, KeyboardInterrupt):
        _is_main_imported = False
        raise
    except BaseException as failure:
        _is_main_imported = False
        raise errors.NotPicklable(f'{wanted!r} is of the main file ({value}), which a worker process cannot import: '
                                  f'{_say(failure)}{_why_by_name(wanted)}') from failure
    finally:
        _is_importing_main = False
