/*
 * lines.h
 *		The table of lines, one for each key URI in use: their queues, what is remembered of
 *		their keys, and their rows in chatcrypt.kms_status.
 */
#ifndef CHATCRYPT_LINES_H
#define CHATCRYPT_LINES_H

#include "worker/dispatch.h"

extern KmsLine *chatcrypt_line_at(int row);	/* NULL for a row that is not in use */
extern KmsLine *chatcrypt_line_for(const ChatcryptSlotRequest *request, KmsEndpoint *endpoint,
								   int64 now_ms);
extern bool chatcrypt_line_is_idle(const KmsLine *line);
extern void chatcrypt_line_publish(KmsLine *line, int64 now_ms);
extern void chatcrypt_lines_forget(void);
extern void chatcrypt_line_suspect(KmsLine *line);
extern void chatcrypt_lines_suspect(const KmsEndpoint *endpoint);
extern void chatcrypt_line_hold(KmsLine *line, int64 until_ms);
extern void chatcrypt_line_release(KmsLine *line);
extern void chatcrypt_line_forget(KmsLine *line);
extern void chatcrypt_line_enqueue(KmsFlight *flight);
extern KmsFlight *chatcrypt_line_take_queue(KmsQueue *queue);
extern const char *chatcrypt_line_error_text(cc_kms_outcome outcome, const char *error);
extern void chatcrypt_line_note_error(KmsLine *line, cc_kms_outcome outcome, const char *error);
extern void chatcrypt_line_note_refusal(KmsLine *line, int operation, cc_kms_outcome outcome,
										const char *error);

#endif
