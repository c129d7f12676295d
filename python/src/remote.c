#include "module.h"
bool remote_pack(recipe_object *r, PyObject *a, PyObject *k, rn_value *v) { (void)r,(void)a,(void)k,(void)v; PyErr_SetString(PyExc_NotImplementedError,"x"); return false; }
PyObject *remote_unpack(module_state *s, rn_value v) { (void)s,(void)v; PyErr_SetString(PyExc_NotImplementedError,"x"); return NULL; }
PyObject *remote_unpack_exception(module_state *s, rn_value v) { return remote_unpack(s,v); }
bool remote_preparation(module_state *s, rn_value *v) { (void)s,(void)v; PyErr_SetString(PyExc_NotImplementedError,"x"); return false; }
void remote_set_functions(rn_task *t, const recipe_object *r) { (void)t,(void)r; }
rn_value worker_prepare(rn_call *c) { (void)c; return rn_none(); }
